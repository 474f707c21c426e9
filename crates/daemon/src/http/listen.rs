//! Where connections come from: TCP, TCP with TLS, and the operator's unix socket.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::tls::Identity;

/// The group whose members may use the operator's socket, if the machine has it.
pub const SOCKET_GROUP: &str = "cutover";

/// The mode of the operator's socket while its group is whatever the daemon's is.
const OWNERS_MODE: u32 = 0o600;

/// The mode of the operator's socket once it belongs to the group [`SOCKET_GROUP`].
const SHARED_MODE: u32 = 0o660;

/// Connections that the kernel keeps for us until they are accepted.
const BACKLOG: u32 = 1024;

/// A bound listener.
#[derive(Debug)]
pub enum Listener {
    /// Plain HTTP; only for loopback addresses, with a proxy in front.
    Plain(TcpListener),
    /// HTTPS.
    Tls(TcpListener, Identity),
    /// The operator's socket: whoever may connect has an operator's rights.
    Operator(OperatorSocket),
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Somebody on the network, to be authenticated.
    Network(SocketAddr),
    /// Somebody on this machine who may use the operator's socket, with the user id if the system
    /// tells it.
    Local(Option<u32>),
}

impl Peer {
    /// How the log names it.
    pub(super) fn show(self) -> String {
        match self {
            Self::Network(address) => address.ip().to_string(),
            Self::Local(Some(uid)) => format!("local:{uid}"),
            Self::Local(None) => "local".to_owned(),
        }
    }
}

/// An accepted connection, before any handshake.
#[derive(Debug)]
pub(super) enum Accepted {
    Plain(TcpStream, SocketAddr),
    Tls(TcpStream, SocketAddr, Identity),
    Operator(UnixStream, Option<u32>),
}

impl Accepted {
    /// The address of the other end; none on the operator's socket.
    pub(super) fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Plain(_, peer) | Self::Tls(_, peer, _) => Some(peer.ip()),
            Self::Operator(..) => None,
        }
    }
}

impl Listener {
    /// Binds plain HTTP.
    ///
    /// # Errors
    /// Whatever the system says about the address.
    pub fn plain(address: SocketAddr) -> io::Result<Self> {
        bind(address).map(Self::Plain)
    }

    /// Binds HTTPS with `identity`.
    ///
    /// # Errors
    /// Whatever the system says about the address.
    pub fn tls(address: SocketAddr, identity: Identity) -> io::Result<Self> {
        Ok(Self::Tls(bind(address)?, identity))
    }

    /// Makes the operator's socket at `path`.
    ///
    /// # Errors
    /// See [`OperatorSocket::bind`].
    pub async fn operator(path: &Path) -> io::Result<Self> {
        OperatorSocket::bind(path).await.map(Self::Operator)
    }

    /// The address that a TCP listener was bound to, with the port that the system chose.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Plain(listener) | Self::Tls(listener, _) => listener.local_addr().ok(),
            Self::Operator(_) => None,
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Plain(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok(Accepted::Plain(stream, peer))
            }
            Self::Tls(listener, identity) => {
                let (stream, peer) = listener.accept().await?;
                Ok(Accepted::Tls(stream, peer, identity.clone()))
            }
            Self::Operator(socket) => {
                let (stream, _) = socket.listener.accept().await?;
                let uid = stream.peer_cred().ok().map(|peer| peer.uid());
                Ok(Accepted::Operator(stream, uid))
            }
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    // A restarted daemon must not wait for the old one's connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The operator's unix socket; its file goes when it is dropped.
#[derive(Debug)]
pub struct OperatorSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl OperatorSocket {
    /// Makes the socket, in place of one that a dead daemon left behind: with the group `cutover` and mode
    /// 0660 where the machine has that group, otherwise with mode 0600.
    ///
    /// # Errors
    /// `AddrInUse` if somebody listens there, `AlreadyExists` if something else than a socket is in the
    /// way, otherwise whatever the system says.
    pub async fn bind(path: &Path) -> io::Result<Self> {
        refuse_occupied(path).await?;
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        // Made under another name and renamed when its permissions are right, so that it is never open
        // to more people than it should.
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(".new");
        let fresh = PathBuf::from(fresh);
        match std::fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&fresh)?;
        share(&fresh, group_id(SOCKET_GROUP))?;
        std::fs::rename(&fresh, path)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
        })
    }
}

/// Opens the socket at `path` to this group, if there is one. What group it has before that says nothing
/// about who is an operator, so that until then it is its owner's alone.
fn share(path: &Path, group: Option<u32>) -> io::Result<()> {
    let set_mode = |mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
    set_mode(OWNERS_MODE)?;
    let Some(gid) = group else {
        return Ok(());
    };
    match chown(path, None, Some(gid)) {
        Ok(()) => set_mode(SHARED_MODE),
        Err(error) => {
            tracing::warn!(
                %error,
                "the operator's socket cannot be given to the group `{SOCKET_GROUP}`; only its owner can use it"
            );
            Ok(())
        }
    }
}

impl Drop for OperatorSocket {
    fn drop(&mut self) {
        // A path that is gone or taken over already is as good as removed.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn refuse_occupied(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt as _;
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("`{}` exists and is not a socket", path.display()),
            ));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("somebody listens on `{}` already", path.display()),
        )),
        Err(_) => Ok(()),
    }
}

/// The id of a group, read from /etc/group: in a static binary the C library cannot look it up.
fn group_id(name: &str) -> Option<u32> {
    gid_in(&std::fs::read_to_string("/etc/group").ok()?, name)
}

fn gid_in(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (found, _password, gid) = (fields.next()?, fields.next()?, fields.next()?);
        (found == name).then(|| gid.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn groups_are_found_by_their_whole_name() {
        let groups = "root:x:0:\ncutover-x:x:7:\ncutover:x:998:alice,bob\nbroken\n";
        assert_eq!(gid_in(groups, "cutover"), Some(998));
        assert_eq!(gid_in(groups, "cut"), None);
    }

    #[tokio::test]
    async fn a_dead_daemons_socket_is_replaced_and_a_living_ones_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("new/socket");
        std::fs::create_dir(dir.path().join("new")).expect("a directory");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket that nobody serves"));
        let first = OperatorSocket::bind(&path).await.expect("replaces it");
        let second = OperatorSocket::bind(&path).await.expect_err("occupied");
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        assert!(path.exists(), "the living socket was left alone");
        drop(first);
        assert!(!path.exists());
        std::fs::remove_dir(dir.path().join("new")).expect("empty");
        assert!(
            OperatorSocket::bind(&path).await.is_ok(),
            "makes the directory"
        );
    }

    #[test]
    fn only_the_group_of_operators_shares_the_socket() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("socket");
        let _socket = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
        let gid = std::fs::metadata(dir.path()).expect("exists").gid();
        for (group, mode) in [(None, 0o600), (Some(gid), 0o660), (None, 0o600)] {
            share(&path, group).expect("its permissions are set");
            let found = std::fs::metadata(&path).expect("exists");
            assert_eq!(
                (found.mode() & 0o777, found.gid()),
                (mode, gid),
                "{group:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_never_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("socket");
        std::fs::write(&path, "precious").expect("a file");
        let error = OperatorSocket::bind(&path).await.expect_err("in the way");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).expect("still there"), b"precious");
    }
}
