//! Standard output as a destination: a line of JSON an event, for pipes.

use crate::cloud_event::Form;
use crate::destination::LINES_AT_ONCE;
use crate::http::sentence;
use commerce_core::{DeliveryResult, Destination, Event};
use std::io::{self, ErrorKind, Write};

/// Standard output. Nobody there any more is the end of it.
pub(crate) struct StdoutDestination {
    form: Form,
}

impl StdoutDestination {
    pub(crate) fn new(form: Form) -> Self {
        Self { form }
    }
}

impl Destination for StdoutDestination {
    fn max_batch_size(&self) -> usize {
        LINES_AT_ONCE
    }

    fn max_concurrency(&self) -> usize {
        1
    }

    fn deliver(&self, events: &[Event]) -> DeliveryResult {
        match self.form.lines(events) {
            Ok(lines) => write(&mut io::stdout().lock(), &lines),
            Err(error) => DeliveryResult::Failed { error: error.to_string(), retry_after: None },
        }
    }
}

fn write(out: &mut impl Write, lines: &[u8]) -> DeliveryResult {
    match out.write_all(lines).and_then(|()| out.flush()) {
        Ok(()) => DeliveryResult::Done,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {
            DeliveryResult::Gone { error: "nobody reads standard output any more".to_owned() }
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
    fn lines_are_written_as_they_are() {
        let mut out = Vec::new();
        assert_eq!(write(&mut out, b"{}\n"), DeliveryResult::Done);
        assert_eq!(out, b"{}\n");
    }

    #[rstest]
    #[case(ErrorKind::BrokenPipe, true)]
    #[case(ErrorKind::StorageFull, false)]
    fn only_a_reader_who_left_is_the_end(#[case] kind: ErrorKind, #[case] is_gone: bool) {
        let delivery = write(&mut Broken(kind), b"{}\n");
        assert_eq!(matches!(delivery, DeliveryResult::Gone { .. }), is_gone);
        assert_eq!(matches!(delivery, DeliveryResult::Failed { .. }), !is_gone);
    }
}
