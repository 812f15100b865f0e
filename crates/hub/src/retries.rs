//! Decides when to retry a request, and how long to wait before that.

use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, SystemTime};

use ureq::http::HeaderMap;

use crate::error::{Error, Result};
use crate::{Progress, tell};

/// How long to wait after each failure in a row, unless the server asks for a wait.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_millis(1000),
    Duration::from_millis(2000),
];
/// Factor on the pause if the Hub has too many requests.
const BUSY: u32 = 4;
/// How often the Hub is asked for a new address if its storage refuses one.
const NEW_ADDRESSES: usize = 2;

/// Counts the failures in a row of one request.
pub(crate) struct Retries<'a> {
    what: &'a str,
    /// Longest wait that is accepted, even if the server asks for more.
    longest: Duration,
    failures: usize,
}

impl<'a> Retries<'a> {
    pub fn new(what: &'a str, longest: Duration) -> Self {
        Self { what, longest, failures: 0 }
    }

    /// Failures in a row.
    pub fn failures(&self) -> usize {
        self.failures
    }

    /// Forgets the failures, because something arrived.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Waits before the next attempt; returns `error` if there is to be none.
    pub fn wait(
        &mut self,
        error: Error,
        progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        self.failures += 1;
        let Some(wait) = pause(&error, self.failures).filter(|wait| *wait <= self.longest) else {
            return Err(error);
        };
        let (what, failures) = (self.what, self.failures);
        let is_asked_for = matches!(error, Error::Status { retry_after: Some(_), .. });
        tell(progress, Progress::Retries { what, failures, wait, is_asked_for, reason: &error.in_short() })?;
        thread::sleep(wait);
        Ok(())
    }

    /// Repeats `attempt` until it succeeds, fails for good, or fails with an error for which `is_waited_for`
    /// is false.
    pub fn repeat<T>(
        &mut self,
        progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
        is_waited_for: impl Fn(&Error) -> bool,
        mut attempt: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        loop {
            match attempt() {
                Ok(value) => return Ok(value),
                Err(error) if is_waited_for(&error) => self.wait(error, progress)?,
                Err(error) => return Err(error),
            }
        }
    }
}

/// How long to wait after `failures` failures in a row, if at all.
fn pause(error: &Error, failures: usize) -> Option<Duration> {
    let pause = *PAUSES.get(failures.checked_sub(1)?)?;
    match error {
        Error::Network { .. } => Some(pause),
        Error::Storage { .. } => (failures <= NEW_ADDRESSES).then_some(pause),
        Error::Status { status: 429, retry_after, .. } => {
            Some(retry_after.unwrap_or_default().max(pause * BUSY))
        }
        Error::Status { status, retry_after, .. } if *status >= 500 || *status == 408 => {
            Some(retry_after.unwrap_or_default().max(pause))
        }
        _ => None,
    }
}

/// How long a server asks to wait. Every answer of the Hub has a `RateLimit`, as in `"resolvers";r=0;t=257`;
/// it applies if no requests remain (`r=0`), and one second is added, as Python does. `Retry-After` contains
/// seconds or a date.
pub(crate) fn announced_wait(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let values = headers.get_all("ratelimit").iter().filter_map(|value| value.to_str().ok());
    let policies = values.flat_map(|value| value.split(','));
    let resets = policies.filter_map(|policy| {
        let parameter = |name: &str| {
            let parameters = policy.split(';').filter_map(|parameter| parameter.split_once('='));
            let value = parameters.into_iter().find(|(found, _)| found.trim().eq_ignore_ascii_case(name))?.1;
            value.trim().parse::<u64>().ok()
        };
        (parameter("r")? == 0).then(|| parameter("t")).flatten()
    });
    if let Some(reset) = resets.max() {
        return Some(Duration::from_secs(reset.saturating_add(1)));
    }
    let value = headers.get("retry-after")?.to_str().ok()?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(headers: &[(&'static str, &str)]) -> Option<u64> {
        let headers = headers
            .iter()
            .map(|(name, value)| (ureq::http::HeaderName::from_static(name), value.parse().unwrap()));
        // 2015-10-21 07:28:00, close to the dates below.
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_412_480);
        announced_wait(&headers.collect(), now).map(|wait| wait.as_secs())
    }

    #[test]
    fn servers_say_how_long_to_wait() {
        assert_eq!(wait(&[("ratelimit", "\"resolvers\";r=0;t=257")]), Some(258));
        assert_eq!(wait(&[("ratelimit", "\"api\"; r = 0 ; t = 55, \"pages\";r=3;t=100")]), Some(56));
        assert_eq!(wait(&[("ratelimit", "\"api\";r=7;t=55"), ("retry-after", "12")]), Some(12));
        assert_eq!(wait(&[("ratelimit", "\"api\";r=0;t=18446744073709551615")]), Some(u64::MAX));
        assert_eq!(wait(&[("retry-after", "Wed, 21 Oct 2015 07:29:30 GMT")]), Some(90));
        assert_eq!(wait(&[("retry-after", "Wed, 21 Oct 2015 07:20:00 GMT")]), Some(0));
        for none in ["", "soon", "-1", "1e9", "99999999999999999999", "\"api\";r=0;t=5"] {
            assert_eq!(wait(&[("retry-after", none)]), None, "{none}");
        }
        for none in ["", "r", "r=0", "t=5", "r=0;t=x", "r=0;t=-5", ";;;", "\"a\";t=5;r=1"] {
            assert_eq!(wait(&[("ratelimit", none)]), None, "{none}");
        }
    }

    #[test]
    fn a_wait_is_as_announced_and_an_end_comes() {
        let status = |status, wait| Error::Status {
            url: String::new(),
            status,
            server_message: None,
            retry_after: Some(Duration::from_secs(wait)),
        };
        assert_eq!(pause(&status(429, 258), 1), Some(Duration::from_secs(258)));
        assert_eq!(pause(&status(503, 0), 1), Some(PAUSES[0]));
        assert_eq!(pause(&status(429, 0), 1), Some(PAUSES[2]));
        assert_eq!(pause(&status(503, 3), 4), Some(Duration::from_secs(3)));
        assert_eq!(pause(&status(503, 3), 5), None);
        assert_eq!(pause(&status(400, 3), 1), None);
        let mut told = 0;
        let mut retries = Retries::new("x", Duration::from_secs(600));
        let mut count = |_: Progress<'_>| {
            told += 1;
            ControlFlow::Continue(())
        };
        assert!(retries.wait(status(429, 86_400), &mut count).is_err());
        assert_eq!(told, 0, "a day is not waited");
        let cancelled = retries.wait(status(503, 60), &mut |_| ControlFlow::Break(()));
        assert!(matches!(cancelled, Err(Error::Cancelled)), "and nothing after a break");
    }
}
