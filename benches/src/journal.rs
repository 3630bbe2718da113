//! What was measured, as JSON.
//!
//! One object: `environment` holds names and texts; `tables` is a list, in the order of printing.
//! Every table has `case` and `title`. Most have `item`, `unit`, `rounds`, `contenders` (the first
//! is the floor) and `targets`. A contender has `name`, `absent` (why it could not run here, or
//! null), `wall` and `cpu`: `median`, `min`, `max`, `spread` (the middle half over the median),
//! `ratio` to the floor's median, and the least and the greatest ratio of a round, `ratio_min` and
//! `ratio_max`. A target has the names `own` and `against` (the best of these counts), `by` (`wall`
//! or `cpu`), `at_most`, and what came of it, `ratio` and `met`, null where one side is absent. A
//! table of plain figures has `figures` in the place of contenders: `name`, `value`,
//! `unit`.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::Outcome;

/// Collects the tables of all cases.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal {
    state: std::sync::Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    case: String,
    tables: Vec<Value>,
}

impl Journal {
    /// Says which case the tables to come belong to.
    pub(crate) fn begin(&self, case: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        case.clone_into(&mut state.case);
    }

    /// Adds a table, which is an object.
    pub(crate) fn add(&self, mut table: Value) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        table["case"] = Value::from(state.case.as_str());
        state.tables.push(table);
    }

    /// Adds figures that are compared with nothing: name, value and unit of each.
    pub(crate) fn add_figures(&self, title: &str, figures: &[(String, f64, &str)]) {
        let figures: Vec<Value> = figures
            .iter()
            .map(|(name, value, unit)| json!({ "name": name, "value": value, "unit": unit }))
            .collect();
        self.add(json!({ "title": title, "figures": figures }));
    }

    /// Writes all of it to `path`.
    pub(crate) fn write(&self, path: &Path, environment: &[(&str, String)]) -> Outcome {
        let environment: serde_json::Map<String, Value> = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str())))
            .collect();
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let all = json!({ "environment": environment, "tables": state.tables });
        let text = serde_json::to_string_pretty(&all)? + "\n";
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Journal;
    use serde_json::{Value, json};

    #[test]
    fn what_is_written_can_be_read_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("out.json");
        let journal = Journal::default();
        journal.begin("spawn");
        journal.add(json!({ "title": "a \"quoted\" one" }));
        journal.begin("memory");
        journal.add_figures("sizes", &[("task".to_owned(), 48.0, "bytes")]);
        let environment = [("kernel", "6.18".to_owned())];
        journal.write(&path, &environment).expect("it is written");
        let text = std::fs::read_to_string(&path).expect("it is there");
        let read: Value = serde_json::from_str(&text).expect("it is JSON");
        assert_eq!(read["environment"]["kernel"], "6.18");
        assert_eq!(read["tables"][0]["case"], "spawn");
        assert_eq!(read["tables"][0]["title"], "a \"quoted\" one");
        assert_eq!(read["tables"][1]["figures"][0]["value"], 48.0);
    }
}
