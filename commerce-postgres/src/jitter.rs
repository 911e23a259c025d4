//! Randomness for jitter: retries and load balancing of many instances must not synchronize.

/// A random byte; zero if the system has no random numbers, which costs the jitter and no correctness.
pub(crate) fn random_byte() -> u8 {
    let mut byte = [0];
    let [random] = getrandom::fill(&mut byte).map_or([0], |()| byte);
    random
}
