//! Where one message ends and the next begins (RFC 3261 §18.3, §7.5; RFC 5626 §4.4.1; RFC 7118 §5).
