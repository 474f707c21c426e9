//! A queue of netfilter, by its netlink protocol (`linux/netfilter/nfnetlink_queue.h`): the kernel tells of each packet
//! and keeps it until it is told what becomes of it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};

/// Who reads which queue, one line each that begins with the queue's number.
const READ_QUEUES: &str = "/proc/thread-self/net/netfilter/nfnetlink_queue";

/// The lowest number. Other programs begin at 0.
const NUMBER_MIN: u16 = 0xc070;

/// Each process begins at one of so many numbers of its own: what another one has left behind then hardly ever sends to a
/// queue of this one.
const STARTS: u16 = 256;

/// How far these are from each other.
const STRIDE: u16 = 32;

/// How many numbers are tried: several services may be switched at the same moment, and a refusal does not tell whether a
/// number is taken or not allowed.
const NUMBERS_MAX: usize = 16;

/// So many packets wait in the kernel; what comes beyond is dropped, and the client sends it again.
const PACKETS_MAX: u32 = 16_384;

/// So much of each packet is shown: the headers.
const COPIED: u32 = 64;

/// What the kernel may keep for us to read. A queue that is full of packets takes some 12 MB.
const BUFFER_BYTES: usize = 16 << 20;

const SUBSYSTEM: u16 = 3;
const MESSAGE_PACKET: u16 = SUBSYSTEM << 8;
const MESSAGE_VERDICT: u16 = (SUBSYSTEM << 8) | 1;
const MESSAGE_CONFIG: u16 = (SUBSYSTEM << 8) | 2;
const MESSAGE_ERROR: u16 = 2;
const FLAG_REQUEST: u16 = 1;
const FLAG_ACK: u16 = 4;
const HEADER_LEN: usize = 16;
const GENERAL_LEN: usize = 4;
const CONFIG_COMMAND: u16 = 1;
const CONFIG_PARAMETERS: u16 = 2;
const CONFIG_PACKETS_MAX: u16 = 3;
const COMMAND_BIND: u8 = 1;
const COPY_PACKET: u8 = 2;
const PACKET_HEADER: u16 = 1;
const VERDICT_HEADER: u16 = 2;
const PACKET_PAYLOAD: u16 = 10;

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Drop,
    Accept,
}

/// A packet that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packet {
    /// The kernel's number of it.
    pub(super) id: u32,
    /// Its beginning.
    pub(super) bytes: Vec<u8>,
}

/// A queue that is read here. Dropping it ends it: what waits in it is dropped, and the rules that name it let
/// everything through.
#[derive(Debug)]
pub(super) struct Queue {
    socket: OwnedFd,
    number: u16,
}

impl Queue {
    /// Takes a queue that nobody reads.
    ///
    /// # Errors
    /// `EPERM` if it is not allowed; whatever else the kernel says.
    pub(super) fn open() -> io::Result<Self> {
        let taken = read_queues()?;
        let own = u16::try_from(std::process::id() % u32::from(STARTS)).unwrap_or_default();
        let first = NUMBER_MIN + own * STRIDE;
        let free = (first..).filter(|number| !taken.contains(number));
        let mut refused = io::Error::from(Errno::BUSY);
        for number in free.take(NUMBERS_MAX) {
            match Self::bind(number) {
                Ok(queue) => return Ok(queue),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    fn bind(number: u16) -> io::Result<Self> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(NETFILTER),
        )?;
        bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        set_socket_recv_buffer_size_force(&socket, BUFFER_BYTES)?;
        let queue = Self { socket, number };
        let command = [COMMAND_BIND, 0, 0, 0];
        let parameters = [&COPIED.to_be_bytes()[..], &[COPY_PACKET]].concat();
        queue.configure(CONFIG_COMMAND, &command)?;
        queue.configure(CONFIG_PARAMETERS, &parameters)?;
        queue.configure(CONFIG_PACKETS_MAX, &PACKETS_MAX.to_be_bytes())?;
        Ok(queue)
    }

    /// Its number, for the rules.
    pub(super) fn number(&self) -> u16 {
        self.number
    }

    fn configure(&self, kind: u16, value: &[u8]) -> io::Result<()> {
        let asked = message(
            MESSAGE_CONFIG,
            FLAG_REQUEST | FLAG_ACK,
            self.number,
            kind,
            value,
        );
        send(&self.socket, &asked, SendFlags::empty())?;
        let mut buffer = vec![0; 4096];
        loop {
            let (len, _) = recv(&self.socket, &mut buffer[..], RecvFlags::empty())?;
            for (kind, body) in messages(&buffer[..len]) {
                if kind == MESSAGE_ERROR {
                    return match number(body, 0).map(i32::from_ne_bytes) {
                        Some(0) => Ok(()),
                        Some(code) => Err(io::Error::from_raw_os_error(-code)),
                        None => Err(io::Error::from(io::ErrorKind::InvalidData)),
                    };
                }
            }
        }
    }

    /// The packets of which the kernel has told since; none where there is nothing new.
    ///
    /// # Errors
    /// Whatever the kernel says. Where it had more to tell than it could keep, that is none: the clients send those
    /// packets again.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<Vec<Packet>> {
        match recv(&self.socket, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((len, _)) => {
                let of_packets =
                    messages(&buffer[..len]).filter(|(kind, _)| *kind == MESSAGE_PACKET);
                Ok(of_packets.filter_map(|(_, body)| packet(body)).collect())
            }
            Err(Errno::AGAIN | Errno::NOBUFS | Errno::INTR) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// Tells what becomes of these packets.
    ///
    /// # Errors
    /// Whatever the kernel says.
    pub(super) fn decide(&self, verdicts: &[(u32, Verdict)]) -> io::Result<()> {
        if verdicts.is_empty() {
            return Ok(());
        }
        let one = |(packet, verdict): &(u32, Verdict)| {
            let verdict: u32 = match verdict {
                Verdict::Drop => 0,
                Verdict::Accept => 1,
            };
            let value = [verdict.to_be_bytes(), packet.to_be_bytes()].concat();
            message(
                MESSAGE_VERDICT,
                FLAG_REQUEST,
                self.number,
                VERDICT_HEADER,
                &value,
            )
        };
        let all: Vec<u8> = verdicts.iter().flat_map(one).collect();
        send(&self.socket, &all, SendFlags::empty())?;
        Ok(())
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The numbers of the queues that somebody reads, in this network namespace.
///
/// # Errors
/// If the kernel does not tell.
pub(super) fn read_queues() -> io::Result<BTreeSet<u16>> {
    let text = match fs::read_to_string(READ_QUEUES) {
        // The kernel loads what makes this file with the first queue.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        text => text?,
    };
    let numbers = text
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    Ok(numbers.filter_map(|number| number.parse().ok()).collect())
}

/// One message about a queue, with one attribute.
fn message(kind: u16, flags: u16, queue: u16, attribute: u16, value: &[u8]) -> Vec<u8> {
    let len = HEADER_LEN + GENERAL_LEN + 4 + value.len();
    let mut message = Vec::with_capacity(len.next_multiple_of(4));
    let length = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
    message.extend(length(len.next_multiple_of(4)).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    // Of no family, version 0.
    message.extend([0, 0]);
    message.extend(queue.to_be_bytes());
    let attribute_len = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    message.extend(attribute_len.to_ne_bytes());
    message.extend(attribute.to_ne_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
    message
}

/// The kind and the body of each message.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::try_from(number(bytes, 0).map(u32::from_ne_bytes)?).ok()?;
        let kind = number(bytes, 4).map(u16::from_ne_bytes)?;
        let body = bytes.get(HEADER_LEN..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

/// Reads what the kernel tells of a packet.
fn packet(body: &[u8]) -> Option<Packet> {
    let mut rest = body.get(GENERAL_LEN..)?;
    let (mut id, mut bytes) = (None, Vec::new());
    while let Some(len) = number(rest, 0).map(u16::from_ne_bytes) {
        let len = usize::from(len);
        let kind = number(rest, 2).map(u16::from_ne_bytes)?;
        let value = rest.get(4..len)?;
        match kind {
            PACKET_HEADER => id = number(value, 0).map(u32::from_be_bytes),
            PACKET_PAYLOAD => bytes = value.to_vec(),
            _ => {}
        }
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(Packet { id: id?, bytes })
}

fn number<const LEN: usize>(bytes: &[u8], at: usize) -> Option<[u8; LEN]> {
    bytes.get(at..at + LEN)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_layout_of_the_kernel() {
        let verdict = message(MESSAGE_VERDICT, FLAG_REQUEST, 7, VERDICT_HEADER, &[9; 8]);
        assert_eq!(verdict.len(), 32);
        assert_eq!(verdict[..4], 32_u32.to_ne_bytes());
        assert_eq!(verdict[4..6], 0x0301_u16.to_ne_bytes());
        assert_eq!(verdict[18..20], [0, 7]);
        assert_eq!(verdict[20..22], 12_u16.to_ne_bytes());
        assert_eq!(verdict[22..24], 2_u16.to_ne_bytes());
        let parameters = message(MESSAGE_CONFIG, 0, 0, CONFIG_PARAMETERS, &[1; 5]);
        assert_eq!(parameters.len() % 4, 0);
    }

    #[test]
    fn packets_are_read_from_several_messages_and_rubbish_is_none() {
        let attribute = |kind: u16, value: &[u8]| {
            let len = u16::try_from(value.len() + 4).expect("short");
            let mut bytes = [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        let told = |id: u32, payload: &[u8]| {
            let header = [&id.to_be_bytes()[..], &[8, 0, 3]].concat();
            let body = [
                vec![2, 0, 0, 7],
                attribute(PACKET_HEADER, &header),
                attribute(5, &[0; 4]),
                attribute(PACKET_PAYLOAD, payload),
            ]
            .concat();
            let len = u32::try_from(body.len() + HEADER_LEN).expect("short");
            let header = [
                &len.to_ne_bytes()[..],
                &MESSAGE_PACKET.to_ne_bytes(),
                &[0; 10],
            ];
            [header.concat(), body].concat()
        };
        let both = [told(1, &[0x45, 0, 0]), told(2, &[0x60])].concat();
        let read: Vec<_> = messages(&both)
            .filter_map(|(_, body)| packet(body))
            .collect();
        let expected = [(1, vec![0x45, 0, 0]), (2, vec![0x60])];
        assert_eq!(
            read,
            expected.map(|(id, bytes)| Packet { id, bytes }).to_vec()
        );
        for len in 0..both.len() {
            let found = messages(&both[..len]).filter_map(|(_, body)| packet(body));
            assert!(found.count() <= 1, "{len}");
        }
        let rubbish: Vec<u8> = (0..=255).collect();
        for start in 0..rubbish.len() {
            let found = messages(&rubbish[start..]).filter_map(|(_, body)| packet(body));
            assert_eq!(found.count(), 0, "{start}");
        }
    }
}
