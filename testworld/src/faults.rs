//! Faults on purpose: which requests go wrong, how, and for how many tries.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Mutex;
use std::time::Duration;

use crate::Error;
use crate::hash::{mix, text, uniform};

/// One way in which an answer can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// `503`: status 503.
    Unavailable,
    /// `429`: status 429 with `Retry-After: 1`.
    TooManyRequests,
    /// `truncate`: the right headers and half of the body, then the connection closes.
    Truncate,
    /// `stall`: the right headers and half of the body, then silence for `stall_s` seconds, then the connection closes.
    Stall,
    /// `reset`: the connection closes before the first byte of the body.
    Reset,
    /// `wrong_length`: a complete answer that is shorter than what was asked for.
    WrongLength,
    /// `corrupt`: the right length, but bytes in the middle are changed.
    Corrupt,
    /// `expire`: status 403, as for a token that ran out.
    Expire,
    /// `page2_500`: status 500 on search pages after the first.
    Page2,
}

impl Fault {
    const ALL: [(Fault, &'static str); 9] = [
        (Fault::Unavailable, "503"),
        (Fault::TooManyRequests, "429"),
        (Fault::Truncate, "truncate"),
        (Fault::Stall, "stall"),
        (Fault::Reset, "reset"),
        (Fault::WrongLength, "wrong_length"),
        (Fault::Corrupt, "corrupt"),
        (Fault::Expire, "expire"),
        (Fault::Page2, "page2_500"),
    ];

    /// Faults of the body make sense for files only: a client cannot tell a changed JSON from the truth.
    fn needs_file(self) -> bool {
        matches!(self, Fault::WrongLength | Fault::Corrupt)
    }
}

/// How often which fault strikes. Written as `503=0.05,truncate=0.01,tries=2`: shares of the distinct requests
/// (method, path, query, range, body; tokens left out), each of which fails its first `tries` (1) times. `gone=TEXT` and
/// `token_s=N` stand beside them.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultSpec {
    /// Share of distinct requests, 0 to 1, by fault.
    pub shares: BTreeMap<Fault, f64>,
    /// How many times a chosen request fails before it succeeds.
    pub tries: u32,
    /// How long a stalled answer stays silent.
    pub stall: Duration,
    /// `gone`, once for each text: files whose path contains it answer 404 for ever.
    pub gone: Vec<String>,
    /// `token_s`: how long a token holds without which no Sentinel-2 file is served.
    pub token: Option<Duration>,
}

impl FaultSpec {
    /// Whether every request is answered as it should.
    pub(crate) fn is_idle(&self) -> bool {
        self.shares.is_empty() && self.gone.is_empty() && self.token.is_none()
    }
}

impl Default for FaultSpec {
    fn default() -> Self {
        Self {
            shares: BTreeMap::new(),
            tries: 1,
            stall: Duration::from_secs(30),
            gone: Vec::new(),
            token: None,
        }
    }
}

impl FromStr for FaultSpec {
    type Err = Error;

    fn from_str(spec: &str) -> Result<Self, Error> {
        let mut faults = Self::default();
        for part in spec.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let wrong = |reason: String| Error::Faults { part: part.to_owned(), reason };
            let (name, value) =
                part.split_once('=').ok_or_else(|| wrong("expected name=value".to_owned()))?;
            if name == "gone" {
                if value.is_empty() {
                    return Err(wrong("expected a part of a path".to_owned()));
                }
                faults.gone.push(value.to_owned());
                continue;
            }
            let number: f64 = value.parse().map_err(|_| wrong(format!("`{value}` is not a number")))?;
            let whole = || -> Result<u32, Error> {
                (number.fract() == 0.0 && (0.0..=1e6).contains(&number))
                    .then_some(number as u32)
                    .ok_or_else(|| wrong("expected a whole number".to_owned()))
            };
            match (name, Fault::ALL.iter().find(|(_, known)| *known == name)) {
                ("tries", _) => faults.tries = whole()?,
                ("token_s", _) => {
                    faults.token = Some(whole()?).filter(|n| *n > 0).map(|n| Duration::from_secs(n.into()));
                }
                ("stall_s", _) => faults.stall = Duration::from_secs_f64(number.clamp(0.0, 3600.0)),
                (_, Some(_)) if !(0.0..=1.0).contains(&number) => {
                    return Err(wrong("expected a share from 0 to 1".to_owned()));
                }
                (_, Some((fault, _))) => {
                    faults.shares.insert(*fault, number);
                }
                (_, None) => {
                    let names: Vec<&str> = Fault::ALL.iter().map(|(_, name)| *name).collect();
                    let others = "tries, stall_s, token_s, gone";
                    return Err(wrong(format!("expected one of {}, {others}", names.join(", "))));
                }
            }
        }
        Ok(faults)
    }
}

/// Decides for each request, and counts its tries.
#[derive(Debug)]
pub(crate) struct FaultPlan {
    pub(crate) spec: FaultSpec,
    seed: u64,
    tries: Mutex<BTreeMap<u64, u32>>,
}

impl FaultPlan {
    pub(crate) fn new(spec: FaultSpec, seed: u64) -> Self {
        Self { spec, seed: mix(seed, &[text("faults")]), tries: Mutex::default() }
    }

    /// The fault of this try of a request. `request` names it in full, `is_file` tells files from JSON and listings,
    /// `is_later_page` whether it asks for a second or later page.
    pub(crate) fn strike(&self, request: &str, is_file: bool, is_later_page: bool) -> Option<Fault> {
        let key = mix(self.seed, &[text(request)]);
        let fault = self.choose(key, is_file, is_later_page)?;
        let mut tries = self.tries.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let count = tries.entry(key).or_default();
        *count += 1;
        (*count <= self.spec.tries).then_some(fault)
    }

    /// Forgets which requests have failed already: every chosen one fails its first tries again.
    pub(crate) fn forget(&self) {
        self.tries.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
    }

    fn choose(&self, key: u64, is_file: bool, is_later_page: bool) -> Option<Fault> {
        let share = |fault: Fault| self.spec.shares.get(&fault).copied().unwrap_or(0.0);
        if is_later_page && uniform(mix(key, &[1])) < share(Fault::Page2) {
            return Some(Fault::Page2);
        }
        let mut draw = uniform(key);
        for (fault, _) in Fault::ALL {
            if fault == Fault::Page2 || (fault.needs_file() && !is_file) {
                continue;
            }
            draw -= share(fault);
            if draw < 0.0 {
                return Some(fault);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifications_are_read_and_wrong_ones_named() {
        let spec: FaultSpec = "503=0.05, truncate=0.5,tries=2,stall_s=0.1".parse().unwrap();
        assert_eq!(spec.shares[&Fault::Unavailable], 0.05);
        assert_eq!((spec.tries, spec.stall), (2, Duration::from_millis(100)));
        for wrong in ["503", "503=x", "504=0.1", "503=1.5", "tries=0.5", "gone=", "gone", "token_s=0.5"] {
            assert!(wrong.parse::<FaultSpec>().is_err(), "{wrong}");
        }
        assert_eq!("".parse::<FaultSpec>().unwrap(), FaultSpec::default());
    }

    #[test]
    fn gone_files_and_tokens_are_read() {
        let spec: FaultSpec = "gone=/red.tif,503=0.1,gone=20210104,token_s=20".parse().unwrap();
        assert_eq!(spec.gone, ["/red.tif", "20210104"]);
        assert_eq!(spec.token, Some(Duration::from_secs(20)));
        assert_eq!(spec.shares.len(), 1);
        assert_eq!("token_s=0".parse::<FaultSpec>().unwrap(), FaultSpec::default());
        assert!(FaultSpec::default().is_idle() && !spec.is_idle());
    }

    #[test]
    fn shares_hold_and_requests_recover() {
        let plan = FaultPlan::new("503=0.2,corrupt=0.1,tries=2".parse().unwrap(), 5);
        let names: Vec<String> = (0..5000).map(|i| format!("/cogs/{i}")).collect();
        let struck = |is_file| {
            names
                .iter()
                .filter(|name| plan.choose(mix(plan.seed, &[text(name)]), is_file, false).is_some())
                .count()
        };
        assert!((1400..1600).contains(&struck(true)), "{}", struck(true));
        assert!((900..1100).contains(&struck(false)), "{}", struck(false));
        let first = names.iter().find(|name| plan.strike(name, true, false).is_some()).unwrap();
        assert!(plan.strike(first, true, false).is_some());
        assert!(plan.strike(first, true, false).is_none());
        plan.forget();
        assert!(plan.strike(first, true, false).is_some());
    }
}
