//! A table that grows: rows are printed when they come, columns widen when they must.

use crate::terminal::{self, Style};

/// How a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// The meaning that a cell's colour carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Warn,
    Bad,
    Dim,
}

/// One cell. The text must already be harmless.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self::toned(text, Tone::Plain)
    }

    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self {
            text: text.into(),
            tone,
        }
    }
}

/// The widths reached so far. The last column takes the room that is left.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(String, Align, usize)>,
    style: Style,
    /// Columns of the terminal; without one, nothing is cut.
    room: Option<usize>,
}

const GAP: &str = "  ";

impl Table {
    /// Columns by title, alignment and expected width.
    pub(crate) fn new(columns: &[(&str, Align, usize)], style: Style, room: Option<usize>) -> Self {
        Self {
            columns: columns
                .iter()
                .map(|&(title, align, width)| {
                    (title.to_owned(), align, width.max(terminal::columns(title)))
                })
                .collect(),
            style,
            room,
        }
    }

    /// The line of titles.
    pub(crate) fn header(&self) -> String {
        let cells: Vec<Cell> = self
            .columns
            .iter()
            .map(|(title, ..)| Cell::toned(title.clone(), Tone::Dim))
            .collect();
        self.compose(&cells)
    }

    /// One row; widens the columns that its cells exceed.
    pub(crate) fn row(&mut self, cells: &[Cell]) -> String {
        let last = self.columns.len().saturating_sub(1);
        for (cell, (_, _, width)) in cells.iter().zip(&mut self.columns).take(last) {
            *width = (*width).max(terminal::columns(&cell.text));
        }
        self.compose(cells)
    }

    /// Header and rows, `indent` spaces from the left, each column as wide as its widest cell.
    pub(crate) fn whole<const N: usize>(mut self, indent: usize, rows: &[[Cell; N]]) -> String {
        for row in rows {
            self.row(row);
        }
        let mut out = format!("{:indent$}{}\n", "", self.header());
        for row in rows {
            out.push_str(&format!("{:indent$}{}\n", "", self.row(row)));
        }
        out
    }

    fn compose(&self, cells: &[Cell]) -> String {
        let last = self.columns.len().saturating_sub(1);
        let mut out = String::new();
        let mut used = 0;
        for (i, (cell, (_, align, width))) in cells.iter().zip(&self.columns).enumerate() {
            if i > 0 {
                out.push_str(GAP);
                used += GAP.len();
            }
            let mut text = cell.text.clone();
            if let Some(room) = self.room.filter(|_| i == last) {
                text = terminal::fit(&text, room.saturating_sub(used).max(8));
            }
            let pad = " ".repeat(width.saturating_sub(terminal::columns(&text)));
            used += *width;
            let toned = match cell.tone {
                Tone::Plain => text,
                Tone::Good => self.style.good(&text),
                Tone::Warn => self.style.warn(&text),
                Tone::Bad => self.style.bad(&text),
                Tone::Dim => self.style.dim(&text),
            };
            match align {
                Align::Right => out.push_str(&format!("{pad}{toned}")),
                Align::Left if i == last => out.push_str(&toned),
                Align::Left => out.push_str(&format!("{toned}{pad}")),
            }
        }
        out.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligns_and_widens_and_cuts_only_the_last_column() {
        let columns = [
            ("member", Align::Left, 8),
            ("ms", Align::Right, 4),
            ("value", Align::Left, 0),
        ];
        let mut table = Table::new(&columns, Style::PLAIN, Some(30));
        assert_eq!(table.header(), "member      ms  value");
        let row = |table: &mut Table, name: &str, ms: &str, value: &str| {
            table.row(&[
                Cell::new(name),
                Cell::new(ms),
                Cell::toned(value, Tone::Bad),
            ])
        };
        assert_eq!(row(&mut table, "lamp", "7", "on"), "lamp         7  on");
        assert_eq!(
            row(&mut table, "kitchen-1", "12345", "on"),
            "kitchen-1  12345  on"
        );
        assert_eq!(
            row(&mut table, "台所", "8", "abcdefghijklmnop"),
            "台所           8  abcdefghijk…"
        );
        assert_eq!(row(&mut table, "", "", ""), "");

        let mut unlimited = Table::new(&columns, Style::PLAIN, None);
        assert!(row(&mut unlimited, "a", "1", &"x".repeat(500)).ends_with(&"x".repeat(500)));
    }
}
