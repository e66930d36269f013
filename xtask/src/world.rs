//! The synthetic Earth as a child process: started on a free loopback port, stopped when dropped.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::child::{end_leftover, quote_tail, spawn};
use crate::failure::fail;

/// Longest wait for the server's first answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running `testworld serve`.
pub(crate) struct World {
    child: Child,
    log: PathBuf,
}

impl World {
    /// Starts the server, with `more` flags of `testworld serve`, and waits until it accepts connections.
    ///
    /// # Errors
    /// Where the port is taken, or the server ends or stays silent.
    pub(crate) fn start(bins: &Path, port: u16, folder: &Path, more: &[&str]) -> Result<World> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        end_leftover(folder, "testworld");
        TcpListener::bind(address).map_err(|error| {
            fail(
                format!("port {port} on loopback: {error}"),
                "choose another with --port, or stop what holds it",
            )
        })?;
        let mut command = Command::new(bins.join("testworld"));
        command.args(["serve", "--port", &port.to_string()]).args(more);
        let (child, log) = spawn(&mut command, folder, "testworld")?;
        let mut world = World { child, log };
        world.wait_until_ready(address)?;
        Ok(world)
    }

    /// Largest resident memory so far; 0 where the system does not tell.
    pub(crate) fn peak_rss_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()).and_then(|n| n.parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    }

    fn wait_until_ready(&mut self, address: SocketAddr) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                let message = format!("testworld ended with {status}{}", quote_tail(&self.log));
                return Err(fail(message, format!("its output is in {}", self.log.display())));
            }
            if TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(fail(
            format!("testworld did not answer on {address} within {} s", PATIENCE.as_secs()),
            format!("its output is in {}", self.log.display()),
        ))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to stop.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
