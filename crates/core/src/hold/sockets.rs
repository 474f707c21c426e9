//! The connections that are open, in the kernel's own tables.

use std::collections::BTreeSet;

/// Established, being established, and closed by the other side only.
const OPEN: [&str; 3] = ["01", "03", "08"];

const LISTENS: &str = "0A";

/// How many connections to one of these ports are open in `table`, which is what `/proc/net/tcp` or `tcp6` shows
/// (proc(5)): a line each, with the local address, the remote one and the state in hexadecimal.
#[must_use]
pub fn open_connections(table: &str, ports: &BTreeSet<u16>) -> usize {
    let is_open = |(port, state): &(u16, &str)| ports.contains(port) && OPEN.contains(state);
    sockets(table).filter(is_open).count()
}

/// The ports at which a process listens, of the same table.
#[must_use]
pub fn listening_ports(table: &str) -> BTreeSet<u16> {
    let listening = sockets(table).filter(|(_, state)| *state == LISTENS);
    listening.map(|(port, _)| port).collect()
}

/// The local port and the state of each.
fn sockets(table: &str) -> impl Iterator<Item = (u16, &str)> {
    table.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (local, state) = (words.nth(1)?, words.nth(1)?);
        let (_, port) = local.rsplit_once(':')?;
        Some((u16::from_str_radix(port, 16).ok()?, state))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_that_are_open_at_these_ports() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 0200000A:1F90 0300000A:C001 01 00000000:00000000 00:00000000 00000000     0        0 2 1
   2: 0200000A:1F90 0300000A:C002 06 00000000:00000000 00:00000000 00000000     0        0 0 3
   3: 0200000A:1F90 0300000A:C003 08 00000000:00000000 00:00000000 00000000     0        0 4 1
   4: 0200000A:C001 0300000A:1F90 01 00000000:00000000 00:00000000 00000000     0        0 5 1
   5: 00000000000000000000000001000000:1F90 00000000000000000000000001000000:C004 03 00000000:00000000 00:00000000 00000000     0        0 5 1
";
        let count = |port| open_connections(table, &BTreeSet::from([port]));
        assert_eq!((count(8080), count(0xc001), count(80)), (3, 1, 0));
        assert_eq!(listening_ports(table), BTreeSet::from([8080]));
        assert_eq!(open_connections("rubbish\n: :\n", &BTreeSet::from([0])), 0);
    }
}
