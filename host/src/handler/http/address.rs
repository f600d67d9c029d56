//! Addresses that may be connected to: public ones, and those that the operator allows besides.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Ranges within 0.0.0.0/0 that are not for the whole internet (the special-purpose registry of IANA).
const V4_SPECIAL: [Ipv4Net; 15] = [
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    v4([192, 0, 0, 0], 24),
    v4([192, 0, 2, 0], 24),
    v4([192, 88, 99, 0], 24),
    v4([192, 168, 0, 0], 16),
    v4([198, 18, 0, 0], 15),
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
    v4([224, 0, 0, 0], 4),
    v4([240, 0, 0, 0], 4),
];

/// All that is given out for the internet so far: neither loopback nor local, mapped or multicast.
const V6_PUBLIC: Ipv6Net = v6([0x2000, 0], 3);

/// Ranges within the public one that are not: protocols (Teredo among them), documentation, 6to4,
/// documentation.
const V6_SPECIAL: [Ipv6Net; 4] =
    [v6([0x2001, 0], 23), v6([0x2001, 0xdb8], 32), v6([0x2002, 0], 16), v6([0x3fff, 0], 20)];

/// Networks with IPv6 alone reach IPv4 through these: the last four bytes are the address that is meant.
const NAT64: Ipv6Net = v6([0x64, 0xff9b], 96);

const fn v4([a, b, c, d]: [u8; 4], length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6([a, b]: [u16; 2], length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), length)
}

/// Tells whether it is public, or in one of these ranges. An IPv4 address in the clothes of IPv6 is judged as
/// itself.
pub(super) fn may_reach(address: IpAddr, allowed: &[IpNet]) -> bool {
    let meant = meant(address);
    let is_public = match meant {
        IpAddr::V4(address) => !V4_SPECIAL.iter().any(|special| special.contains(&address)),
        IpAddr::V6(address) => {
            V6_PUBLIC.contains(&address) && !V6_SPECIAL.iter().any(|special| special.contains(&address))
        }
    };
    is_public || allowed.iter().any(|range| range.contains(&meant))
}

fn meant(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) if NAT64.contains(&v6) => {
            let [.., a, b, c, d] = v6.octets();
            Ipv4Addr::new(a, b, c, d).into()
        }
        IpAddr::V4(_) | IpAddr::V6(_) => address.to_canonical(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_public_is_reached_unasked() {
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "198.17.255.255",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450::1",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
        ] {
            assert!(may_reach(public.parse().unwrap(), &[]), "{public}");
        }
    }

    #[test]
    fn what_is_local_private_special_or_hides_such_is_not() {
        for special in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.170",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::8.8.8.8",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0:8.8.8.8",
            "64:ff9b::10.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::1.1.1.1",
            "100::1",
            "2001::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:808:808::",
            "3fff::1",
            "5f00::1",
            "4000::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!may_reach(special.parse().unwrap(), &[]), "{special}");
        }
    }

    #[test]
    fn the_operator_opens_ranges_and_nothing_beside_them() {
        let allowed: Vec<IpNet> =
            ["10.1.0.0/16", "127.0.0.1/32", "fd00::/8"].iter().map(|range| range.parse().unwrap()).collect();
        for open in ["10.1.2.3", "127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::10.1.0.1", "fd00::1", "1.1.1.1"] {
            assert!(may_reach(open.parse().unwrap(), &allowed), "{open}");
        }
        for closed in ["10.2.0.1", "127.0.0.2", "::1", "::127.0.0.1", "169.254.169.254", "fc00::1"] {
            assert!(!may_reach(closed.parse().unwrap(), &allowed), "{closed}");
        }
    }
}
