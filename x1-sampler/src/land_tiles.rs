//! Which Sentinel-2 tiles hold land.

use std::collections::BTreeSet;
use std::sync::LazyLock;

/// Zone and band a line; then for columns, before the colon, the rows, `A-D` for `ABCD`. See `assets/README.md`.
const LIST: &str = include_str!("../assets/land_tiles.txt");
const ROWS: &str = "ABCDEFGHJKLMNPQRSTUV";

static IDS: LazyLock<BTreeSet<String>> = LazyLock::new(|| LIST.lines().flat_map(of_line).collect());

/// Whether a tile of the ESA grid meets the land of Natural Earth at 1 : 10 000 000; 20 430 do. Tiles of open sea and
/// texts that are no tile id do not.
#[must_use]
pub fn is_land_tile(id: &str) -> bool {
    IDS.contains(id)
}

fn of_line(line: &str) -> Vec<String> {
    let mut words = line.split(' ');
    let zone = words.next().unwrap_or_default();
    let mut ids = Vec::new();
    for (columns, rows) in words.filter_map(|word| word.split_once(':')) {
        let rows = expanded(rows);
        ids.extend(
            columns.chars().flat_map(|column| rows.iter().map(move |row| format!("{zone}{column}{row}"))),
        );
    }
    ids
}

/// `AC-E` as A, C, D, E.
fn expanded(rows: &str) -> Vec<char> {
    let mut letters: Vec<char> = Vec::new();
    let mut range = false;
    for letter in rows.chars() {
        let from = letters.last().copied().filter(|_| range);
        letters.extend(from.into_iter().flat_map(|from| {
            ROWS.chars().skip_while(move |&row| row != from).skip(1).take_while(move |&row| row != letter)
        }));
        range = letter == '-';
        letters.extend((!range).then_some(letter));
    }
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_written_out() {
        assert_eq!(expanded("AC-EV"), ['A', 'C', 'D', 'E', 'V']);
        assert_eq!(expanded("H-KU-V"), ['H', 'J', 'K', 'U', 'V']);
        assert_eq!(of_line("01F B:EF DA:K"), ["01FBE", "01FBF", "01FDK", "01FAK"]);
    }

    #[test]
    fn land_and_sea() {
        assert_eq!(IDS.len(), 20_430);
        assert!(is_land_tile("35KMQ") && is_land_tile("01KAB") && is_land_tile("33XWH"));
        // South Atlantic, and no tiles at all.
        assert!(!is_land_tile("28KBD") && !is_land_tile("35KMq") && !is_land_tile(""));
    }
}
