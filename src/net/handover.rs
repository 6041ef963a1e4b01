//! Descriptors on their way from one process to another: a unix socket that carries whole messages,
//! each with some of them.
//!
//! Called by `process`, which knows what the messages say; nothing here blocks for longer than the
//! timeouts that it sets.

use std::fs::Permissions;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

/// Descriptors of one message.
pub const DESCRIPTORS_EACH: usize = 64;
/// Bytes of one message: a word, and a path of at most 107 bytes.
const MESSAGE_BYTES_MAX: usize = 4096;
/// Connections that wait to be accepted: one at a time is served, others are told so.
const BACKLOG: i32 = 8;
/// Whether somebody listens shows at once, unless more wait than that.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// A connection to another process.
#[derive(Debug)]
pub struct Line(OwnedFd);

/// The user of this process.
pub fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Whether the listeners may go to a process of this user, or come from one: it is ours, or root.
pub fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == own_uid()
}

/// Listens at `path`, for this user and root only. Takes the place of a file that nobody listens
/// at any more.
pub fn listen(path: &Path) -> io::Result<OwnedFd> {
    if let Ok(there) = std::fs::symlink_metadata(path) {
        if !there.file_type().is_socket() {
            let why = "something that is not a socket is there; remove it or choose another path";
            return Err(io::Error::other(why));
        }
        match Line::connect(path, LOOK_MAX) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path)?;
            }
            // Somebody listens, or we may not ask.
            Ok(_) | Err(_) => {
                let why = "socket already in use; corelay run --take-over takes over from the \
                           process that listens there, see ss -lxp";
                return Err(io::Error::other(why));
            }
        }
    }
    let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Nobody can connect before `listen`, so nobody gets in under another mode.
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The next who asks; `None` if nobody has within `patience` (`None`: for ever).
pub fn accept(listener: &OwnedFd, patience: Option<Duration>) -> io::Result<Option<Line>> {
    let socket = SockRef::from(listener);
    // On Linux it bounds accept(2), too.
    socket.set_read_timeout(patience)?;
    match socket.accept() {
        Ok((line, _)) => Ok(Some(Line(line.into()))),
        Err(error) if is_timeout(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a wait has come to its end.
pub fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Each socket once, although several descriptors may stand for it.
pub fn distinct<T>(all: Vec<T>, socket: impl Fn(&T) -> &OwnedFd) -> io::Result<Vec<T>> {
    let (mut inodes, mut kept) = (Vec::new(), Vec::new());
    for item in all {
        let inode = std::fs::File::from(socket(&item).try_clone()?).metadata()?.ino();
        if !inodes.contains(&inode) {
            inodes.push(inode);
            kept.push(item);
        }
    }
    Ok(kept)
}

impl Line {
    /// Connects; that, and each `send` and `receive` from then on, takes `patience` at most.
    pub fn connect(path: &Path, patience: Duration) -> io::Result<Line> {
        let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
        let line = Line(socket.into());
        // On Linux it bounds connect(2), too, which waits for a place in the queue.
        line.set_patience(patience)?;
        SockRef::from(&line.0).connect(&SockAddr::unix(path)?)?;
        Ok(line)
    }

    /// The user at the other end, as the kernel says: of who has connected, or has begun to listen.
    pub fn peer_uid(&self) -> io::Result<u32> {
        let mut peer = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
        let mut length = size_of::<libc::ucred>() as libc::socklen_t;
        // SAFETY: both pointers are to locals of the right types, which outlive the call.
        let result = unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERCRED,
                (&raw mut peer).cast(),
                &raw mut length,
            )
        };
        match result {
            0 => Ok(peer.uid),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// How long a `send` or a `receive` may take.
    pub fn set_patience(&self, patience: Duration) -> io::Result<()> {
        let socket = SockRef::from(&self.0);
        socket.set_read_timeout(Some(patience))?;
        socket.set_write_timeout(Some(patience))
    }

    /// Sends one message with at most [`DESCRIPTORS_EACH`] descriptors.
    pub fn send(&self, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); SPACE];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fits = message.len() <= MESSAGE_BYTES_MAX
            && descriptors.len() <= DESCRIPTORS_EACH
            && (descriptors.is_empty()
                || control.push(SendAncillaryMessage::ScmRights(descriptors)));
        if !fits {
            return Err(io::Error::other("the message is too large"));
        }
        sendmsg(&self.0, &[IoSlice::new(message)], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// The next message, and what came with it. An error if the other end has gone.
    pub fn receive(&self) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
        let mut bytes = vec![0; MESSAGE_BYTES_MAX];
        let mut space = [MaybeUninit::uninit(); SPACE];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut bytes)];
        let received = recvmsg(self.0.as_fd(), &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(some) = message {
                descriptors.extend(some);
            }
        }
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            let why = "a message was cut off: too long, or no descriptors are left (ulimit -n)";
            return Err(io::Error::other(why));
        }
        if received.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.truncate(received.bytes);
        Ok((bytes, descriptors))
    }
}

/// Room for the descriptors of one message.
const SPACE: usize = rustix::cmsg_space!(ScmRights(DESCRIPTORS_EACH));

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    fn pair(path: &Path) -> (OwnedFd, Line, Line) {
        let listener = listen(path).unwrap();
        let ours = Line::connect(path, SOON).unwrap();
        let theirs = accept(&listener, Some(SOON)).unwrap().unwrap();
        theirs.set_patience(SOON).unwrap();
        (listener, ours, theirs)
    }

    #[test]
    fn messages_arrive_whole_with_their_descriptors() {
        let directory = tempfile::tempdir().unwrap();
        let (_listener, ours, theirs) = pair(&directory.path().join("h.sock"));
        let (mut near, far) = UnixStream::pair().unwrap();
        let many: Vec<BorrowedFd<'_>> = (0..DESCRIPTORS_EACH).map(|_| far.as_fd()).collect();
        ours.send(b"first", &many).unwrap();
        ours.send(b"second", &[]).unwrap();
        let (bytes, mut descriptors) = theirs.receive().unwrap();
        assert_eq!((bytes.as_slice(), descriptors.len()), (b"first".as_slice(), 64));
        let mut arrived = UnixStream::from(descriptors.remove(0));
        arrived.write_all(b"hello").unwrap();
        let mut text = [0; 5];
        near.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"hello");
        assert_eq!(theirs.receive().unwrap().0, b"second");
        assert_eq!((ours.peer_uid().unwrap(), theirs.peer_uid().unwrap()), (own_uid(), own_uid()));
        drop(ours);
        let gone = theirs.receive().unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::UnexpectedEof);
        assert!(theirs.send(b"hello?", &[]).is_err());
    }

    #[test]
    fn what_is_too_large_is_not_sent() {
        let directory = tempfile::tempdir().unwrap();
        let (_listener, ours, theirs) = pair(&directory.path().join("h.sock"));
        let far = ours.0.as_fd();
        assert!(ours.send(b"x", &[far; DESCRIPTORS_EACH + 1]).is_err());
        assert!(ours.send(&[0; MESSAGE_BYTES_MAX + 1], &[]).is_err());
        theirs.set_patience(Duration::from_millis(20)).unwrap();
        assert!(is_timeout(&theirs.receive().unwrap_err()), "nothing has come");
        // One that is too long for the reader is an error there, not half of a message.
        let longer = [b'x'; MESSAGE_BYTES_MAX + 1];
        SockRef::from(&ours.0).send(&longer).unwrap();
        assert!(theirs.receive().unwrap_err().to_string().contains("cut off"));
    }

    #[test]
    fn a_socket_is_had_by_one_process_and_its_file_by_this_user() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("h.sock");
        let listener = listen(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(listen(&path).unwrap_err().to_string().contains("already in use"));
        // That look is a connection, which has gone.
        assert!(accept(&listener, Some(SOON)).unwrap().is_some());
        assert!(accept(&listener, Some(Duration::from_millis(20))).unwrap().is_none());
        drop(listener);
        let _again = listen(&path).unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "precious").unwrap();
        assert!(listen(&file).unwrap_err().to_string().contains("not a socket"));
        assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    }

    #[test]
    fn only_this_user_and_root_are_trusted() {
        assert!(is_trusted(0) && is_trusted(own_uid()));
        assert!(!is_trusted(own_uid() + 1) && !is_trusted(u32::MAX));
    }

    #[test]
    fn who_does_not_accept_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("h.sock");
        let _listener = listen(&path).unwrap();
        let patience = Duration::from_millis(20);
        let lines: io::Result<Vec<Line>> =
            (0..BACKLOG + 2).map(|_| Line::connect(&path, patience)).collect();
        assert!(is_timeout(&lines.unwrap_err()));
    }

    #[test]
    fn each_socket_is_counted_once() {
        let (one, two) = UnixStream::pair().unwrap();
        let all = vec![one.as_fd(), two.as_fd(), one.as_fd()];
        let all = all.into_iter().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
        assert_eq!(distinct(all, |fd| fd).unwrap().len(), 2);
    }
}
