//! The table that is printed, line by line as it is found out.

/// Counts the goals met while it prints.
#[derive(Debug)]
pub struct Table {
    met: usize,
    missed: Vec<String>,
}

impl Table {
    pub fn new() -> Table {
        println!(
            "\n{:<52} {:>24} {:>30} {:>8}  {:<26} verdict",
            "measure", "figure", "this machine's own", "ratio", "goal"
        );
        Table { met: 0, missed: Vec::new() }
    }

    pub fn part(&mut self, title: &str) {
        println!("— {title} {}", "—".repeat(150 - title.chars().count()));
    }

    /// Prints a line that has no goal.
    pub fn note(&mut self, measure: &str, figure: String, limit: &str, ratio: Option<f64>) {
        self.line(measure, &figure, limit, ratio, "", "");
    }

    /// Prints a line that has one.
    pub fn goal(&mut self, measure: &str, figure: String, limit: &str, ratio: f64, goal: &str, is_met: bool) {
        if is_met {
            self.met += 1;
        } else {
            self.missed.push(measure.to_string());
        }
        self.line(measure, &figure, limit, Some(ratio), goal, if is_met { "ok" } else { "MISSED" });
    }

    fn line(&self, measure: &str, figure: &str, limit: &str, ratio: Option<f64>, goal: &str, verdict: &str) {
        let ratio = ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        println!("{measure:<52} {figure:>24} {limit:>30} {ratio:>8}  {goal:<26} {verdict}");
    }

    pub fn close(self) {
        println!("{} of {} goals met", self.met, self.met + self.missed.len());
        for missed in self.missed {
            println!("  missed: {missed}");
        }
    }
}
