//! A secure SIP node: registrar, proxy, policy, storage.
