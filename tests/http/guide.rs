//! `docs/api.md` is true: its session runs as written.
