-- What a node must remember: its own secrets, its users, where their phones are.
CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
    name TEXT NOT NULL PRIMARY KEY,
    -- H(name:realm:password) of RFC 7616 §3.4.2, never the password.
    ha1_md5 TEXT NOT NULL,
    ha1_sha256 TEXT NOT NULL,
    -- The same over name@realm, which some phones send as their name.
    ha1_md5_with_realm TEXT NOT NULL,
    ha1_sha256_with_realm TEXT NOT NULL,
    open_to_strangers INTEGER NOT NULL,
    created_at_unix_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE bindings (
    aor TEXT NOT NULL,
    contact TEXT NOT NULL,
    -- Empty: the phone gave none.
    instance TEXT NOT NULL,
    -- -1: the phone gave none.
    reg_id INTEGER NOT NULL,
    q INTEGER NOT NULL,
    -- 0: removed; the row stays for a while so that a late older change cannot bring it back.
    expires_at_unix_ms INTEGER NOT NULL,
    call_id TEXT NOT NULL,
    cseq INTEGER NOT NULL,
    path TEXT NOT NULL,
    params TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    transport TEXT NOT NULL,
    local TEXT NOT NULL,
    remote TEXT NOT NULL,
    flow INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (aor, contact, instance, reg_id)
) STRICT, WITHOUT ROWID;
