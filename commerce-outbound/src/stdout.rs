//! Standard output as a destination: one line of JSON for each event, for pipes.

use crate::cloud_event::EventEncoder;
use crate::http::sentence;
use crate::limits::MAX_LINES_PER_WRITE;
use commerce_core::{DeliveryResult, Destination, Event};
use std::io::{self, ErrorKind, Write};

/// Standard output. A broken pipe ends the relay.
pub(crate) struct StdoutDestination {
    encoder: EventEncoder,
}

impl StdoutDestination {
    pub(crate) fn new(encoder: EventEncoder) -> Self {
        Self { encoder }
    }
}

impl Destination for StdoutDestination {
    fn max_batch_size(&self) -> usize {
        MAX_LINES_PER_WRITE
    }

    fn max_concurrency(&self) -> usize {
        1
    }

    fn deliver(&self, events: &[Event]) -> DeliveryResult {
        match self.encoder.lines(events) {
            Ok(lines) => write(&mut io::stdout().lock(), &lines),
            Err(error) => DeliveryResult::Failed { error: error.to_string(), retry_after: None },
        }
    }
}

fn write(out: &mut impl Write, lines: &[u8]) -> DeliveryResult {
    match out.write_all(lines).and_then(|()| out.flush()) {
        Ok(()) => DeliveryResult::Done,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {
            DeliveryResult::Gone { error: "the reader of standard output has closed it".to_owned() }
        }
        Err(error) => DeliveryResult::Failed { error: sentence(&error), retry_after: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    struct Broken(ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_unchanged() {
        let mut out = Vec::new();
        assert_eq!(write(&mut out, b"{}\n"), DeliveryResult::Done);
        assert_eq!(out, b"{}\n");
    }

    #[rstest]
    #[case(ErrorKind::BrokenPipe, true)]
    #[case(ErrorKind::StorageFull, false)]
    fn only_a_broken_pipe_ends_the_relay(#[case] kind: ErrorKind, #[case] is_gone: bool) {
        let delivery = write(&mut Broken(kind), b"{}\n");
        assert_eq!(matches!(delivery, DeliveryResult::Gone { .. }), is_gone);
        assert_eq!(matches!(delivery, DeliveryResult::Failed { .. }), !is_gone);
    }
}
