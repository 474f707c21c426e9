//! What the names of services stand for in a Docker network: asked of Docker's own resolver, as a container does.

use std::io;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Duration;

/// Docker's resolver, in the network namespace of every container of a network that has names.
const RESOLVER: (Ipv4Addr, u16) = (Ipv4Addr::new(127, 0, 0, 11), 53);

/// How long one answer may take, and how often is asked: the defaults of `resolv.conf(5)`. A packet may be lost.
const PATIENCE: Duration = Duration::from_secs(5);
const ATTEMPTS: u32 = 2;

/// A DNS header: a question that wants recursion.
const HEADER: [u8; HEADER_LEN] = [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
const HEADER_LEN: usize = 12;

/// The type `A` and the class `IN`.
const ADDRESS: [u8; 4] = [0, 1, 0, 1];

/// The addresses of `name`, in the order in which they were answered, asked from the calling thread's network namespace.
///
/// # Errors
/// If the resolver does not answer.
pub fn addresses(name: &str) -> io::Result<Vec<IpAddr>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut question = HEADER.to_vec();
    for label in name.split('.') {
        question.push(u8::try_from(label.len()).map_err(io::Error::other)?);
        question.extend(label.as_bytes());
    }
    question.push(0);
    question.extend(ADDRESS);
    let mut answer = [0; 512];
    let mut ask = || {
        socket.send_to(&question, RESOLVER)?;
        socket.recv(&mut answer)
    };
    let mut len = ask();
    for _ in 1..ATTEMPTS {
        len = len.or_else(|_| ask());
    }
    let len = len?;
    Ok(read(&answer[..len], question.len()))
}

/// The addresses in an answer to a question of this length, which it repeats. Each record begins with the name that was
/// asked for, or with a pointer to it.
fn read(answer: &[u8], question_len: usize) -> Vec<IpAddr> {
    /// The type, the class, and for how long it holds.
    const RECORD_LEN: usize = 8;
    let mut left = answer.get(question_len..).unwrap_or_default();
    let mut found = Vec::new();
    while let Some(first) = left.first() {
        let name_len = match first {
            0xc0.. => 2,
            _ => question_len - HEADER_LEN - ADDRESS.len(),
        };
        let record = left.get(name_len..).unwrap_or_default();
        let Some((head, [one, two, data @ ..])) = record.split_at_checked(RECORD_LEN) else {
            break;
        };
        let data_len = usize::from(u16::from_be_bytes([*one, *two]));
        let Some((data, rest)) = data.split_at_checked(data_len) else {
            break;
        };
        let octets = <[u8; 4]>::try_from(data).ok();
        let octets = octets.filter(|_| head.starts_with(&ADDRESS));
        found.extend(octets.map(IpAddr::from));
        left = rest;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_of_an_answer_are_read() {
        let question = [&HEADER[..], &[3, b'a', b'p', b'p', 0], &ADDRESS].concat();
        let record = |name: &[u8], last: u8| {
            let rest = [0, 0, 2, 88, 0, 4, 172, 18, 0, last];
            [name, &ADDRESS, &rest].concat()
        };
        let (pointer, name) = ([0xc0, 12], [3, b'a', b'p', b'p', 0]);
        let records = [record(&pointer, 3), record(&name, 2)].concat();
        let answer = [question.clone(), records].concat();
        let expected = [[172, 18, 0, 3], [172, 18, 0, 2]].map(IpAddr::from);
        assert_eq!(read(&answer, question.len()), expected);
        assert_eq!(read(&question, question.len()), [] as [IpAddr; 0]);
    }
}
