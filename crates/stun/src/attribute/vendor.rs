//! Types that vendors have registered with IANA for themselves, 0xc000 and above: by name, for who reads a log.
//!
//! No RFC says what their values are. All are comprehension-optional, so nobody has to know.

pub(super) const fn name(number: u16) -> Option<&'static str> {
    Some(match number {
        0xc000 => "CISCO-STUN-FLOWDATA",
        0xc001 => "ENF-FLOW-DESCRIPTION",
        0xc002 => "ENF-NETWORK-STATUS",
        0xc003 => "CISCO-WEBEX-FLOW-INFO",
        0xc056 => "CITRIX-TRANSACTION-ID",
        0xc057 => "GOOG-NETWORK-INFO",
        0xc058 => "GOOG-LAST-ICE-CHECK-RECEIVED",
        0xc059 => "GOOG-MISC-INFO",
        0xc05a => "GOOG-OBSOLETE-1",
        0xc05b => "GOOG-CONNECTION-ID",
        0xc05c => "GOOG-DELTA",
        0xc05d => "GOOG-DELTA-ACK",
        0xc05e => "GOOG-DELTA-SYNC-REQ",
        0xc060 => "GOOG-MESSAGE-INTEGRITY-32",
        _ => return None,
    })
}
