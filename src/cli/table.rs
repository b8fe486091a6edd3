//! Columns for people. What is put into a cell is made safe here; widths go by characters.

use super::out::{Failure, Out, Tone, safe};

/// Two blanks tell columns apart where a name has one.
const GAP: &str = "  ";

/// A cell.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    tone: Tone,
    right: bool,
}

impl Cell {
    /// Returns a cell of words.
    pub fn new(text: impl AsRef<str>) -> Cell {
        Cell { text: safe(text.as_ref()).into_owned(), tone: Tone::Plain, right: false }
    }

    /// Returns a cell of a number, which stands at the right.
    pub fn number(text: impl AsRef<str>) -> Cell {
        Cell { right: true, ..Cell::new(text) }
    }

    /// Returns the cell in a tone.
    pub fn toned(mut self, tone: Tone) -> Cell {
        self.tone = tone;
        self
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

/// Rows under a heading.
#[derive(Clone, Debug)]
pub struct Table {
    heading: Vec<Cell>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Returns a table without rows.
    pub fn new(heading: &[&str]) -> Table {
        Table { heading: heading.iter().map(|text| Cell::new(text).toned(Tone::Strong)).collect(), rows: Vec::new() }
    }

    /// Adds a row; it has as many cells as the heading.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Prints the table, every column as wide as its widest cell.
    pub fn print(&self, out: &mut Out<'_>) -> Result<(), Failure> {
        let all = || std::iter::once(&self.heading).chain(&self.rows);
        let width = |column: usize| all().filter_map(|row| row.get(column)).map(Cell::width).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.heading.len()).map(width).collect();
        let is_right: Vec<bool> = (0..widths.len())
            .map(|column| self.rows.iter().any(|row| row.get(column).is_some_and(|c| c.right)))
            .collect();
        for row in all() {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let room = widths.get(column).map_or(0, |width| width.saturating_sub(cell.width()));
                let blanks = " ".repeat(room);
                if column > 0 {
                    line.push_str(GAP);
                }
                let text = out.toned(cell.tone, &cell.text);
                if is_right.get(column) == Some(&true) {
                    line.push_str(&blanks);
                    line.push_str(&text);
                } else {
                    line.push_str(&text);
                    // Nothing trails behind the last column.
                    if column + 1 < row.len() {
                        line.push_str(&blanks);
                    }
                }
            }
            out.line(line.trim_end())?;
        }
        Ok(())
    }
}
