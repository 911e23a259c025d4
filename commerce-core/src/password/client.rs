//! The clients between which the hashing of passwords is shared.

/// The origin of a login or sign-up, by which a shell distinguishes clients, such as a network address.
///
/// Clients get equal shares of the hashing of passwords. The default stands for callers without an origin, which are
/// one client together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Client(u128);

impl Client {
    /// Returns the client of a number. Each origin needs a number of its own.
    #[must_use]
    pub const fn new(number: u128) -> Self {
        Self(number)
    }
}
