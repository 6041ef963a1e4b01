//! Listening sockets: one of its own for each core on TCP (SO_REUSEPORT), one shared by all on a
//! unix path, where SO_REUSEPORT would not spread anything.
//!
//! Called at boot by `process`, before any core runs, so that all complaints come at once and on
//! the terminal. Sockets that an earlier process hands over (`handover`) are spread over the cores
//! here, too.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use crate::base::ids::PoolId;
use crate::base::limits::{LISTEN_AGAIN_MS, LISTEN_IN_USE_MAX_MS};
use crate::config::model::{Config, Listen, PoolConfig};

/// A listening socket of one core.
#[derive(Debug)]
pub struct Listener {
    pub pool: PoolId,
    /// With the port that the system chose, if the configuration left it open.
    pub at: Listen,
    pub socket: OwnedFd,
}

/// Why a pool can not be reached at one of its addresses.
#[derive(Debug)]
pub struct ListenError {
    pub pool: String,
    pub at: Listen,
    why: Why,
}

#[derive(Debug)]
enum Why {
    InUse,
    NotASocket,
    Other { doing: &'static str, error: io::Error },
}

fn other(doing: &'static str) -> impl Fn(io::Error) -> Why {
    move |error| match error.raw_os_error() {
        Some(libc::EADDRINUSE) => Why::InUse,
        _ => Why::Other { doing, error },
    }
}

/// The listeners of all pools, by core; or everything that is wrong with them.
pub fn bind(config: &Config, cores: usize) -> Result<Vec<Vec<Listener>>, Vec<ListenError>> {
    bind_more(&[], config, cores)
}

/// The same, but for the addresses that are `open` already.
pub fn bind_more(
    open: &[Listen],
    config: &Config,
    cores: usize,
) -> Result<Vec<Vec<Listener>>, Vec<ListenError>> {
    let mut by_core: Vec<Vec<Listener>> = (0..cores).map(|_| Vec::new()).collect();
    let mut complaints = Vec::new();
    let mut waits_left = LISTEN_IN_USE_MAX_MS / LISTEN_AGAIN_MS;
    for (id, pool) in config.numbered() {
        for listen in pool.listen.iter().filter(|listen| !open.contains(listen)) {
            match bind_patiently(listen, pool, cores, &mut waits_left) {
                Ok(sockets) => {
                    for (of_core, (at, socket)) in by_core.iter_mut().zip(sockets) {
                        of_core.push(Listener { pool: id, at, socket });
                    }
                }
                Err(why) => {
                    let pool = pool.name.clone();
                    complaints.push(ListenError { pool, at: listen.clone(), why });
                }
            }
        }
    }
    if complaints.is_empty() { Ok(by_core) } else { Err(complaints) }
}

type Bound = Vec<(Listen, OwnedFd)>;

/// Waits for an address that is in use: the kernel takes a ring apart, and what it listens on, some
/// time after its process was killed, so the one that a supervisor starts at once may be too early.
fn bind_patiently(
    listen: &Listen,
    pool: &PoolConfig,
    cores: usize,
    waits_left: &mut u64,
) -> Result<Bound, Why> {
    loop {
        let bound = match listen {
            Listen::Tcp(address) => bind_tcp(*address, pool, cores),
            Listen::Unix { path, mode } => bind_unix(path, *mode, pool, cores),
        };
        if !matches!(bound, Err(Why::InUse)) || *waits_left == 0 {
            return bound;
        }
        *waits_left -= 1;
        std::thread::park_timeout(Duration::from_millis(LISTEN_AGAIN_MS));
    }
}

fn bind_tcp(address: SocketAddr, pool: &PoolConfig, cores: usize) -> Result<Bound, Why> {
    // SO_REUSEPORT would let a second proxy take half of the clients in silence: a first bind
    // without it finds out whether anybody is there.
    let alone = tcp_socket(address)?;
    alone.bind(&SockAddr::from(address)).map_err(other("bind"))?;
    let address = alone.local_addr().map_err(other("getsockname"))?;
    let address = address.as_socket().ok_or(Why::NotASocket)?;
    drop(alone);
    (0..cores)
        .map(|_| {
            let socket = tcp_socket(address)?;
            socket.set_reuse_port(true).map_err(other("SO_REUSEPORT"))?;
            socket.bind(&SockAddr::from(address)).map_err(other("bind"))?;
            // What is set on a listening socket holds for those it accepts.
            socket.set_tcp_nodelay(true).map_err(other("TCP_NODELAY"))?;
            socket.set_keepalive(pool.tcp_keepalive).map_err(other("SO_KEEPALIVE"))?;
            socket.listen(backlog(pool)).map_err(other("listen"))?;
            Ok((Listen::Tcp(address), socket.into()))
        })
        .collect()
}

fn tcp_socket(address: SocketAddr) -> Result<Socket, Why> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
        .map_err(other("socket"))?;
    // Connections of an earlier process that linger in TIME_WAIT are no hindrance.
    socket.set_reuse_address(true).map_err(other("SO_REUSEADDR"))?;
    if address.is_ipv6() {
        // [::] means IPv6 only: 0.0.0.0 beside it is bound on its own.
        socket.set_only_v6(true).map_err(other("IPV6_V6ONLY"))?;
    }
    Ok(socket)
}

fn bind_unix(
    path: &Path,
    mode: Option<u32>,
    pool: &PoolConfig,
    cores: usize,
) -> Result<Bound, Why> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(other("socket"))?;
    let address = SockAddr::unix(path).map_err(other("path (at most 107 bytes)"))?;
    socket.bind(&address).map_err(other("bind"))?;
    if let Some(mode) = mode {
        // Nobody can connect before `listen`, so nobody gets in under another mode.
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, permissions).map_err(other("chmod"))?;
    }
    socket.listen(backlog(pool)).map_err(other("listen"))?;
    (0..cores)
        .map(|_| {
            let shared = socket.try_clone().map_err(other("dup"))?;
            Ok((Listen::Unix { path: path.to_owned(), mode }, shared.into()))
        })
        .collect()
}

/// Spreads the sockets of one address, which another process listened on, over the cores. All of
/// them are used: what waits in the queue of one that is closed is lost, and the kernel goes on
/// putting connections into each that is open anywhere. Fewer than cores are shared.
pub fn spread(sockets: &[OwnedFd], cores: usize) -> io::Result<Vec<Vec<OwnedFd>>> {
    let mut by_core: Vec<Vec<OwnedFd>> = (0..cores).map(|_| Vec::new()).collect();
    for at in 0..if sockets.is_empty() { 0 } else { cores.max(sockets.len()) } {
        by_core[at % cores].push(sockets[at % sockets.len()].try_clone()?);
    }
    Ok(by_core)
}

/// Removes a socket file that nobody listens on any more.
fn remove_stale(path: &Path) -> Result<(), Why> {
    let Ok(there) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !there.file_type().is_socket() {
        return Err(Why::NotASocket);
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(other("remove the stale socket file"))
        }
        // Somebody listens; or we may not ask, and then must not take it away either.
        Ok(_) => Err(Why::InUse),
        Err(error) => Err(Why::Other { doing: "look for a listener", error }),
    }
}

/// Sets what can be set on a socket that listens already.
pub fn tune(socket: &OwnedFd, pool: &PoolConfig) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.listen(backlog(pool))?;
    match socket.domain()? {
        Domain::UNIX => Ok(()),
        _ => socket.set_keepalive(pool.tcp_keepalive),
    }
}

fn backlog(pool: &PoolConfig) -> i32 {
    i32::try_from(pool.backlog).unwrap_or(i32::MAX)
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ListenError { pool, at, why } = self;
        write!(f, "pool {pool}: listen {at}: ")?;
        match (why, at) {
            (Why::InUse, Listen::Tcp(_)) => {
                write!(f, "address already in use; another process has it, see ss -ltnp")
            }
            (Why::InUse, Listen::Unix { .. }) => {
                write!(f, "socket already in use; another process listens there, see ss -lxp")
            }
            (Why::NotASocket, _) => {
                write!(f, "something that is not a socket is there; remove it or choose another")
            }
            (Why::Other { error, .. }, _) if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) => {
                write!(f, "no interface of this machine has that address, see ip address")
            }
            (Why::Other { doing, error }, Listen::Tcp(address))
                if error.kind() == io::ErrorKind::PermissionDenied =>
            {
                write!(
                    f,
                    "{doing}: permission denied; port {} needs CAP_NET_BIND_SERVICE, or \
                     net.ipv4.ip_unprivileged_port_start at most at it",
                    address.port()
                )
            }
            (Why::Other { error, .. }, Listen::Unix { .. })
                if error.kind() == io::ErrorKind::NotFound =>
            {
                write!(f, "its directory does not exist; make it, or choose another path")
            }
            (Why::Other { doing, error }, Listen::Unix { .. })
                if error.kind() == io::ErrorKind::PermissionDenied =>
            {
                write!(f, "{doing}: permission denied; let this user write to its directory")
            }
            (Why::Other { doing, error }, _) => write!(f, "{doing}: {error}"),
        }
    }
}

impl std::error::Error for ListenError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sample;

    fn config(listen: Vec<Listen>) -> Config {
        let mut config = Config::clone(&sample::config(&[("cache", &[])]));
        std::sync::Arc::make_mut(&mut config.pools[0]).listen = listen;
        config
    }

    fn tcp(address: &str) -> Listen {
        Listen::Tcp(address.parse().unwrap())
    }

    fn complaint(listen: Listen) -> String {
        let complaints = bind(&config(vec![listen]), 2).unwrap_err();
        complaints.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_core_listens_at_the_same_addresses() {
        for anywhere in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
            let by_core = bind(&config(vec![tcp(anywhere)]), 3).unwrap();
            assert_eq!(by_core.len(), 3);
            let first = &by_core[0][0].at;
            assert_ne!(*first, tcp(anywhere), "the system has chosen a port");
            assert!(by_core.iter().all(|of_core| of_core[0].at == *first));
        }
    }

    #[test]
    fn both_kinds_of_any_address_live_side_by_side() {
        let v4 = bind(&config(vec![tcp("0.0.0.0:0")]), 1).unwrap();
        let Listen::Tcp(address) = v4[0][0].at else { panic!() };
        bind(&config(vec![tcp(&format!("[::]:{}", address.port()))]), 1).unwrap();
    }

    #[test]
    fn a_second_proxy_is_told_that_the_address_is_taken() {
        let first = bind(&config(vec![tcp("127.0.0.1:0")]), 2).unwrap();
        let at = first[0][0].at.clone();
        let expected = format!(
            "pool cache: listen {at}: address already in use; another process has it, see ss -ltnp"
        );
        assert_eq!(complaint(at), expected);
    }

    #[test]
    fn an_address_that_is_given_up_soon_is_waited_for() {
        let first = bind(&config(vec![tcp("127.0.0.1:0")]), 1).unwrap();
        let at = first[0][0].at.clone();
        let leaving = std::thread::spawn(move || {
            std::thread::park_timeout(Duration::from_millis(50));
            drop(first);
        });
        bind(&config(vec![at]), 1).unwrap();
        leaving.join().unwrap();
    }

    #[test]
    fn sockets_that_are_handed_over_are_all_used_whatever_the_number_of_cores() {
        use std::os::unix::fs::MetadataExt as _;
        let inode = |socket: &OwnedFd| {
            std::fs::File::from(socket.try_clone().unwrap()).metadata().unwrap().ino()
        };
        for (had, has) in [(1, 1), (1, 3), (2, 3), (3, 2), (4, 1), (0, 2)] {
            let old = bind(&config(vec![tcp("127.0.0.1:0")]), had).unwrap();
            let old: Vec<OwnedFd> = old.into_iter().flatten().map(|it| it.socket).collect();
            let by_core = spread(&old, has).unwrap();
            assert_eq!(by_core.len(), has);
            let mut used: Vec<u64> = by_core.iter().flatten().map(inode).collect();
            assert!(had == 0 || by_core.iter().all(|of_core| !of_core.is_empty()));
            used.sort_unstable();
            used.dedup();
            let mut all: Vec<u64> = old.iter().map(inode).collect();
            all.sort_unstable();
            assert_eq!(used, all, "{had} on {has}");
        }
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let nowhere = tcp("192.0.2.1:6379");
        let file = tempfile::NamedTempFile::new().unwrap();
        let no_socket = Listen::Unix { path: file.path().to_owned(), mode: None };
        let gone = Listen::Unix { path: "/nonexistent/x.sock".into(), mode: None };
        let listen = vec![nowhere, no_socket, gone];
        let complaints = bind(&config(listen), 1).unwrap_err();
        let texts: Vec<_> = complaints.iter().map(ToString::to_string).collect();
        assert!(texts[0].contains("no interface of this machine has that address"), "{texts:?}");
        assert!(texts[1].contains("something that is not a socket is there"), "{texts:?}");
        assert!(texts[2].contains("its directory does not exist; make it"), "{texts:?}");
        assert!(file.path().exists());
    }

    #[test]
    fn a_stale_socket_file_is_replaced_and_a_living_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cache.sock");
        let unix = Listen::Unix { path: path.clone(), mode: Some(0o660) };
        let first = bind(&config(vec![unix.clone()]), 2).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert!(complaint(unix.clone()).contains("another process listens there"));
        UnixStream::connect(&path).unwrap();
        drop(first);
        assert!(path.exists());
        let _second = bind(&config(vec![unix]), 2).unwrap();
        UnixStream::connect(&path).unwrap();
    }
}
