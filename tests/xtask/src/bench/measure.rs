//! Samples and their middle, memory in megabytes, and whether the machine is quiet enough to
//! measure on.

/// Seconds, measured more than once.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples(Vec<f64>);

impl Samples {
    pub(super) fn push(&mut self, seconds: f64) {
        self.0.push(seconds);
        self.0.sort_by(f64::total_cmp);
    }

    pub(super) fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// In the order of their size.
    pub(super) fn middle_half(&self) -> &[f64] {
        let quarter = self.0.len() / 4;
        self.0.get(quarter..self.0.len() - quarter).unwrap_or_default()
    }

    pub(super) fn range(&self) -> (f64, f64) {
        (self.0.first().copied().unwrap_or(f64::NAN), self.0.last().copied().unwrap_or(f64::NAN))
    }
}

pub(super) fn megabytes(kib: u64) -> String {
    format!("{:.1}", kib as f64 / 1_024.0)
}

/// Says so if something else is running.
pub(super) fn warn_if_busy() {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{cores} cores, load {load} before the run");
    if load > 0.5 {
        println!("warning: the machine is not idle; trust the ratios less");
    }
}
