//! Which packages make a private Docker and a systemd, and which of their programs are used.

/// One package: which Debian releases to take it from, best first, and how to see that it runs
/// here (a package of a later release may need a newer C library than the machine has).
pub(super) struct Wanted {
    /// The directory that it is unpacked into.
    pub(super) slot: &'static str,
    /// Debian's name for it.
    pub(super) name: &'static str,
    /// Releases, best first.
    pub(super) releases: &'static [&'static str],
    /// A program in it, and the argument at which the program prints its version.
    pub(super) trial: Option<(&'static str, &'static str)>,
}

const fn wanted(name: &'static str, releases: &'static [&'static str]) -> Wanted {
    Wanted {
        slot: name,
        name,
        releases,
        trial: None,
    }
}

const fn tried(
    name: &'static str,
    releases: &'static [&'static str],
    program: &'static str,
) -> Wanted {
    Wanted {
        trial: Some((program, "--version")),
        ..wanted(name, releases)
    }
}

const fn compose(slot: &'static str, releases: &'static [&'static str]) -> Wanted {
    Wanted {
        slot,
        trial: Some(("usr/libexec/docker/cli-plugins/docker-compose", "version")),
        ..wanted("docker-compose", releases)
    }
}

/// Everything that a private Docker needs. `runc` and the libraries come from the oldest release:
/// they run on it and on every later one.
pub(super) const RECIPE: [Wanted; 29] = [
    tried("docker.io", &["sid", "trixie"], "usr/sbin/dockerd"),
    tried("docker-cli", &["sid", "trixie"], "usr/bin/docker"),
    compose("compose-newest", &["sid", "trixie"]),
    compose("compose-oldest", &["trixie"]),
    tried(
        "docker-registry",
        &["sid", "trixie", "bookworm"],
        "usr/bin/docker-registry",
    ),
    tried("containerd", &["trixie", "bookworm"], "usr/bin/containerd"),
    wanted("runc", &["bookworm", "trixie"]),
    wanted("tini", &["bookworm", "trixie"]),
    wanted("busybox-static", &["bookworm", "trixie"]),
    wanted("iptables", &["bookworm", "trixie"]),
    wanted("libseccomp2", &["bookworm", "trixie"]),
    wanted("libip4tc2", &["bookworm", "trixie"]),
    wanted("libip6tc2", &["bookworm", "trixie"]),
    wanted("libxtables12", &["bookworm", "trixie"]),
    wanted("libmnl0", &["bookworm", "trixie"]),
    wanted("libnetfilter-conntrack3", &["bookworm", "trixie"]),
    wanted("libnfnetlink0", &["bookworm", "trixie"]),
    wanted("libnftnl11", &["bookworm", "trixie"]),
    // For tests of signed images; its options for signing changed in the next major version.
    Wanted {
        trial: Some(("usr/bin/cosign", "version")),
        ..wanted("cosign", &["trixie"])
    },
    // For tests of a service behind a proxy on the host. Its library for TLS is further down.
    wanted("nginx", &["bookworm"]),
    wanted("libpcre2-8-0", &["bookworm"]),
    // For tests that make the disk fail.
    wanted("strace", &["bookworm", "trixie"]),
    wanted("libunwind8", &["bookworm", "trixie"]),
    // For tests under systemd: what a machine has when it was installed, and an image of a container
    // has not.
    wanted("systemd", &["bookworm", "trixie"]),
    wanted("libsystemd-shared", &["bookworm", "trixie"]),
    wanted("libapparmor1", &["bookworm", "trixie"]),
    wanted("libcap2", &["bookworm", "trixie"]),
    wanted("libkmod2", &["bookworm", "trixie"]),
    wanted("libssl3", &["bookworm"]),
];

/// The programs of `DIR/bin`: the name by which they are called, and where they are.
pub(super) const PROGRAMS: [(&str, &str); 19] = [
    ("dockerd", "docker.io/usr/sbin/dockerd"),
    ("docker-proxy", "docker.io/usr/sbin/docker-proxy"),
    ("docker-init", "tini/usr/bin/tini-static"),
    ("containerd", "containerd/usr/bin/containerd"),
    (
        "containerd-shim-runc-v2",
        "containerd/usr/bin/containerd-shim-runc-v2",
    ),
    ("runc", "runc/usr/sbin/runc"),
    ("iptables", "iptables/usr/sbin/xtables-nft-multi"),
    ("iptables-save", "iptables/usr/sbin/xtables-nft-multi"),
    ("iptables-restore", "iptables/usr/sbin/xtables-nft-multi"),
    ("ip6tables", "iptables/usr/sbin/xtables-nft-multi"),
    ("ip6tables-restore", "iptables/usr/sbin/xtables-nft-multi"),
    ("busybox", "busybox-static/bin/busybox"),
    ("docker", "docker-cli/usr/bin/docker"),
    ("cosign", "cosign/usr/bin/cosign"),
    ("nginx", "nginx/usr/sbin/nginx"),
    ("strace", "strace/usr/bin/strace"),
    ("docker-registry", "docker-registry/usr/bin/docker-registry"),
    (
        "docker-compose",
        "compose-newest/usr/libexec/docker/cli-plugins/docker-compose",
    ),
    (
        "docker-compose-oldest",
        "compose-oldest/usr/libexec/docker/cli-plugins/docker-compose",
    ),
];

/// Names the recipe, so that a checkout with another one fetches again.
pub(super) fn recipe_line() -> String {
    let parts: Vec<String> = RECIPE
        .iter()
        .map(|wanted| {
            format!(
                "{}={}:{}",
                wanted.slot,
                wanted.name,
                wanted.releases.join(",")
            )
        })
        .collect();
    format!("1 {}", parts.join(" "))
}
