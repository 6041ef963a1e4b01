//! What a reader of configurations has to know of the host: its CPUs, and what names mean.
//!
//! The readers take it as an argument, so that a test has the machine it wants.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

/// The host as the configuration sees it.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Ids of the CPUs that this process may run on, ascending, never empty.
    pub cpus: Vec<usize>,
    /// How many of them it may use at the same time (a container's quota may be lower).
    pub parallelism: usize,
    /// Addresses of a host name and port.
    pub resolve: fn(&str, u16) -> io::Result<Vec<SocketAddr>>,
}

impl Machine {
    /// The machine that this process runs on. Reads `/proc/self/status`; where that does not tell,
    /// the CPUs are taken to be numbered from 0.
    pub fn this() -> Machine {
        let parallelism = std::thread::available_parallelism().map_or(1, usize::from);
        let cpus = std::fs::read_to_string("/proc/self/status")
            .ok()
            .and_then(|status| {
                let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
                list.and_then(|list| cpu_list(list.trim()))
            })
            .unwrap_or_else(|| (0..parallelism).collect());
        Machine { cpus, parallelism, resolve }
    }

    /// The CPUs for `cores = "auto"`: those allowed, no more than may run at once.
    pub fn cores_auto(&self) -> Vec<usize> {
        self.cpus.iter().copied().take(self.parallelism.max(1)).collect()
    }
}

/// Asks the host's resolver; may block as long as it does.
fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    (host, port).to_socket_addrs().map(Iterator::collect)
}

/// Ids of a list such as `0-3,8,10-11` (Linux, `proc(5)`); `None` if it is not one.
fn cpu_list(list: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last > CPU_ID_MAX {
            return None;
        }
        cpus.extend(first..=last);
    }
    (!cpus.is_empty()).then_some(cpus)
}

/// Far above any kernel's NR_CPUS.
const CPU_ID_MAX: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists_are_read() {
        assert_eq!(cpu_list("0-3,8,10-11"), Some(vec![0, 1, 2, 3, 8, 10, 11]));
        assert_eq!(cpu_list("5"), Some(vec![5]));
        for bad in ["", "x", "3-1", "0-99999999999", "1,,2"] {
            assert_eq!(cpu_list(bad), None, "{bad}");
        }
    }

    #[test]
    fn this_machine_has_cpus() {
        let machine = Machine::this();
        assert!(!machine.cores_auto().is_empty());
        assert!(machine.cores_auto().len() <= machine.cpus.len());
    }
}
