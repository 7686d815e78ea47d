//! Which calls are joined here instead of being passed on by the proxy.

use std::collections::BTreeSet;

/// Which calls go through the back-to-back user agent, users named by the operator aside.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Which {
    /// None: the proxy passes them on.
    #[default]
    Never,
    /// Those of callers who are not users here.
    Strangers,
    /// All.
    Always,
}

/// Whom the back-to-back user agent stands between. Default: nobody.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Joining {
    /// For everybody.
    pub calls: Which,
    /// Users whose calls are joined in any case, whoever is at the other end.
    pub users: BTreeSet<String>,
}

impl Joining {
    /// Whether a call is joined. `caller` is the user who has authenticated, `called` the one who is called.
    pub fn joins(&self, caller: Option<&str>, called: Option<&str>) -> bool {
        let named = || [caller, called].into_iter().flatten().any(|user| self.users.contains(user));
        match self.calls {
            Which::Always => true,
            Which::Strangers if caller.is_none() => true,
            Which::Strangers | Which::Never => !self.users.is_empty() && named(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_chosen_parties_are_joined() {
        let joins = |calls, users: &[&str]| {
            let joining = Joining { calls, users: users.iter().map(|user| (*user).to_owned()).collect() };
            [(Some("alice"), Some("bob")), (None, Some("bob")), (Some("alice"), None)]
                .map(|(caller, called)| joining.joins(caller, called))
        };
        assert_eq!(joins(Which::Never, &[]), [false, false, false]);
        assert_eq!(joins(Which::Never, &["bob"]), [true, true, false]);
        assert_eq!(joins(Which::Never, &["alice"]), [true, false, true]);
        assert_eq!(joins(Which::Strangers, &[]), [false, true, false]);
        assert_eq!(joins(Which::Strangers, &["alice"]), [true, true, true]);
        assert_eq!(joins(Which::Always, &[]), [true, true, true]);
    }
}
