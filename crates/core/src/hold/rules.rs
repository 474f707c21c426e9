//! The rules of the packet filter, as arguments of `iptables` and `ip6tables`.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

/// What every comment of ours begins with.
const COMMENT: &str = "cutover:";

/// `multiport` takes so many ports.
const PORTS_MAX: usize = 15;

/// A TCP port of the host at which a service is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Published {
    /// The address of the host that it is bound to; unspecified for all of the family.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}

/// A family of addresses, each with a program of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The program that changes its rules.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::V4 => "iptables",
            Self::V6 => "ip6tables",
        }
    }
}

/// The chain of the table `raw` that a rule stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Chain {
    /// What comes from other machines and from containers.
    Prerouting,
    /// What the host itself sends.
    Output,
}

/// One rule: the first packet of each new connection to these ports is queued.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Whose addresses.
    pub family: Family,
    /// Where it stands.
    pub chain: Chain,
    /// The one address that it is about; none for all of the host.
    pub address: Option<IpAddr>,
    /// The ports, in ascending order.
    pub ports: Vec<u16>,
}

/// The rules for these ports.
///
/// Docker drops what other machines send to a binding of the loopback interface by rules of its own in the same table,
/// and those must not be preceded: such a binding gets no rule in `PREROUTING`.
#[must_use]
pub fn rules(published: &[Published]) -> Vec<Rule> {
    let mut by_address: BTreeMap<IpAddr, BTreeSet<u16>> = BTreeMap::new();
    for one in published {
        by_address.entry(one.address).or_default().insert(one.port);
    }
    let mut rules = Vec::new();
    for (address, ports) in by_address {
        let family = match address {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        };
        let chains: &[Chain] = match address.is_loopback() {
            true => &[Chain::Output],
            false => &[Chain::Prerouting, Chain::Output],
        };
        let ports: Vec<u16> = ports.into_iter().collect();
        for ports in ports.chunks(PORTS_MAX) {
            rules.extend(chains.iter().map(|&chain| Rule {
                family,
                chain,
                address: Some(address).filter(|address| !address.is_unspecified()),
                ports: ports.to_vec(),
            }));
        }
    }
    rules
}

impl Rule {
    /// The arguments that add it at the end of its chain, for `owner`, which is a project and a service, and with the
    /// number of the queue.
    #[must_use]
    pub fn to_add(&self, owner: &str, queue: u16) -> Vec<String> {
        self.arguments("-A", owner, queue)
    }

    /// The arguments that delete it.
    #[must_use]
    pub fn to_delete(&self, owner: &str, queue: u16) -> Vec<String> {
        self.arguments("-D", owner, queue)
    }

    fn arguments(&self, action: &str, owner: &str, queue: u16) -> Vec<String> {
        let mut arguments: Vec<String> = ["-w", "5", "-t", "raw", action].map(str::to_owned).into();
        let chain: &[&str] = match self.chain {
            Chain::Prerouting => &["PREROUTING", "!", "-i", "lo"],
            Chain::Output => &["OUTPUT"],
        };
        arguments.extend(chain.iter().map(|word| (*word).to_owned()));
        if let Some(address) = self.address {
            arguments.extend(["-d".to_owned(), address.to_string()]);
        }
        let ports: Vec<String> = self.ports.iter().map(u16::to_string).collect();
        let (ports, comment, queue) = (
            ports.join(","),
            format!("{COMMENT}{owner}"),
            queue.to_string(),
        );
        let rest = [
            "-p",
            "tcp",
            "-m",
            "multiport",
            "--dports",
            &ports,
            "--tcp-flags",
            "FIN,SYN,RST,ACK",
            "SYN",
            "-m",
            "addrtype",
            "--dst-type",
            "LOCAL",
            "-m",
            "comment",
            "--comment",
            &comment,
            "-j",
            "NFQUEUE",
            "--queue-num",
            &queue,
            // Whatever becomes of cutover: a queue that nobody reads lets everything through.
            "--queue-bypass",
        ];
        arguments.extend(rest.map(str::to_owned));
        arguments
    }
}

/// The arguments that delete each rule of ours in `listing`, which is what `iptables -t raw -S` prints, whose queue is
/// not among those that somebody reads.
#[must_use]
pub fn left_over(listing: &str, read: &BTreeSet<u16>) -> Vec<Vec<String>> {
    let ours = listing.lines().filter_map(|line| {
        let mut words = words(line);
        let is_ours = words
            .windows(2)
            .any(|two| two[0] == "--comment" && two[1].starts_with(COMMENT));
        let queue = words.windows(2).find(|two| two[0] == "--queue-num");
        let queue: u16 = queue?[1].parse().ok()?;
        if words.first().is_none_or(|first| first != "-A") || !is_ours || read.contains(&queue) {
            return None;
        }
        words[0] = "-D".to_owned();
        let table = ["-w", "5", "-t", "raw"].map(str::to_owned);
        Some(table.into_iter().chain(words).collect())
    });
    ours.collect()
}

/// The words of a line that `iptables` prints: some have quotation marks around them, with `\` before those inside.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut is_quoted) = (String::new(), false);
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' if is_quoted => word.extend(characters.next()),
            '"' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(std::mem::take(&mut word)),
            other => word.push(other),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(address: &str, port: u16) -> Published {
        Published {
            address: address.parse().expect("an address"),
            port,
        }
    }

    fn text(rule: &Rule) -> String {
        rule.to_add("shop/app", 7).join(" ")
    }

    #[test]
    fn a_port_of_all_addresses_is_queued_wherever_it_is_reached_from() {
        let rules = rules(&[published("0.0.0.0", 8080), published("0.0.0.0", 80)]);
        let texts: Vec<String> = rules.iter().map(text).collect();
        let rest = "-p tcp -m multiport --dports 80,8080 --tcp-flags FIN,SYN,RST,ACK SYN -m addrtype --dst-type LOCAL -m comment --comment cutover:shop/app -j NFQUEUE --queue-num 7 --queue-bypass";
        assert_eq!(
            texts,
            [
                format!("-w 5 -t raw -A PREROUTING ! -i lo {rest}"),
                format!("-w 5 -t raw -A OUTPUT {rest}"),
            ]
        );
        assert!(rules.iter().all(|rule| rule.family == Family::V4));
        let deleted = rules[1].to_delete("shop/app", 7).join(" ");
        assert_eq!(deleted, format!("-w 5 -t raw -D OUTPUT {rest}"));
    }

    #[test]
    fn a_port_of_the_loopback_interface_is_queued_for_the_host_only() {
        let rules = rules(&[published("127.0.0.1", 80), published("::1", 80)]);
        let found: Vec<_> = rules
            .iter()
            .map(|rule| (rule.family, rule.chain, rule.address))
            .collect();
        assert_eq!(
            found,
            [
                (Family::V4, Chain::Output, "127.0.0.1".parse().ok()),
                (Family::V6, Chain::Output, "::1".parse().ok()),
            ]
        );
    }

    #[test]
    fn a_port_of_one_address_is_queued_for_that_address() {
        let rules = rules(&[published("192.0.2.1", 80)]);
        assert_eq!(rules.len(), 2);
        for rule in &rules {
            assert!(text(rule).contains(" -d 192.0.2.1 -p tcp "), "{rule:?}");
        }
    }

    #[test]
    fn more_ports_than_one_rule_takes_are_several_rules() {
        let many: Vec<_> = (1..=40).map(|port| published("::", port)).collect();
        let rules = rules(&many);
        assert_eq!(rules.len(), 6);
        assert!(rules.iter().all(|rule| rule.ports.len() <= PORTS_MAX));
        let all: BTreeSet<u16> = rules.iter().flat_map(|rule| rule.ports.clone()).collect();
        assert_eq!(all.len(), 40);
    }

    #[test]
    fn rules_that_nobody_reads_any_more_are_deleted_and_no_others() {
        let listing = "\
-P PREROUTING ACCEPT
-A PREROUTING -d 172.18.0.2/32 ! -i br-1 -j DROP
-A PREROUTING ! -i lo -p tcp -m multiport --dports 80,81 -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m addrtype --dst-type LOCAL -m comment --comment \"cutover:my shop/app\" -j NFQUEUE --queue-num 5 --queue-bypass
-A OUTPUT -p tcp -m comment --comment cutover:shop/app -j NFQUEUE --queue-num 6 --queue-bypass
-A OUTPUT -p tcp -m comment --comment \"not cutover:shop\" -j NFQUEUE --queue-num 9
";
        let deleted = left_over(listing, &BTreeSet::from([6]));
        assert_eq!(deleted.len(), 1);
        let text = deleted[0].join("|");
        assert!(
            text.starts_with("-w|5|-t|raw|-D|PREROUTING|!|-i|lo|"),
            "{text}"
        );
        assert!(text.contains("|--comment|cutover:my shop/app|"), "{text}");
        assert_eq!(left_over(listing, &BTreeSet::new()).len(), 2);
    }
}
