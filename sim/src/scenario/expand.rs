//! From a file with ranges to the exact file of one seed.
//!
//! Anywhere a value may stand, these may stand for it:
//!
//! * `{ from = "1ms", to = "10s", scale = "log" }`: drawn evenly, or by its logarithm; whole numbers or times
//! * `{ pick = ["none", "zstd"] }`: one of these
//!
//! An event that has `times`, `chance` or `pick` stands for several, or for none:
//!
//! * `chance = 0.5`: this seed has it at all
//! * `times = { from = 5, to = 100 }`: so many of it, each with its own draws
//! * `pick = [ { kill = {} }, { pause = {} } ]`: each is one of these; `each_on = 0.5` first takes each class out
//!   of the whole seed with probability 1/2
//!
//! Draws hang on the event's name and on where the value stands, so that no part changes another's.

use toml::{Table, Value};

use super::ScenarioError;
use crate::draw::{Draw, Draws, Label};
use crate::time::{format_duration, parse_duration};

/// Draws everything in `template` that is not exact.
///
/// # Errors
/// A range that is none.
pub fn expand(template: &Table, draws: Draws) -> Result<Table, ScenarioError> {
    let mut exact = Table::new();
    for (key, value) in template {
        if key != "event" {
            exact.insert(key.clone(), exact_value(value, key, draws)?);
        }
    }
    let mut events = Vec::new();
    let given = template.get("event").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for (index, event) in given.iter().enumerate() {
        let event = event.as_table().ok_or_else(|| ScenarioError::new("event", "is not a table"))?;
        expand_event(event, index, draws, &mut events)?;
    }
    exact.insert("event".into(), Value::Array(events));
    Ok(exact)
}

fn expand_event(event: &Table, index: usize, draws: Draws, out: &mut Vec<Value>) -> Result<(), ScenarioError> {
    let name = event.get("name").and_then(Value::as_str).map_or_else(|| format!("e{index}"), str::to_owned);
    let number = |key: &str| event.get(key).map(|value| probability(value, &name, key)).transpose();
    let chance = number("chance")?.unwrap_or(1.0);
    if !draws.named(Label::Scenario, &format!("{name}/chance"), 0).chance(chance) {
        return Ok(());
    }
    let alternatives = alternatives(event, &name, number("each_on")?.unwrap_or(1.0), draws)?;
    let times = match event.get("times") {
        None => 1,
        Some(times) => whole(&exact_value(times, &format!("{name}/times"), draws)?, &name, "times")?,
    };
    if alternatives.is_empty() {
        return Ok(());
    }
    for turn in 0..times {
        let own = if event.contains_key("times") { format!("{name}-{turn}") } else { name.clone() };
        let mut one = event.clone();
        for key in ["chance", "each_on", "times", "pick"] {
            one.remove(key);
        }
        let which = draws.named(Label::Scenario, &format!("{own}/pick"), 0).index(alternatives.len());
        one.extend(alternatives[which].clone());
        let mut one = exact_value(&Value::Table(one), &own, draws)?;
        if let Value::Table(table) = &mut one {
            table.insert("name".into(), Value::String(own));
        }
        out.push(one);
    }
    Ok(())
}

/// The classes that are on in this seed; one empty table if the event names its action itself.
fn alternatives(event: &Table, name: &str, each_on: f64, draws: Draws) -> Result<Vec<Table>, ScenarioError> {
    let Some(pick) = event.get("pick") else { return Ok(vec![Table::new()]) };
    let pick = pick.as_array().ok_or_else(|| ScenarioError::new(name, "`pick` is not a list"))?;
    let mut on = Vec::new();
    for (index, one) in pick.iter().enumerate() {
        let one = one.as_table().ok_or_else(|| ScenarioError::new(name, "`pick` holds something that is no table"))?;
        if draws.named(Label::Scenario, &format!("{name}/on"), index as u64).chance(each_on) {
            on.push(one.clone());
        }
    }
    Ok(on)
}

fn exact_value(value: &Value, path: &str, draws: Draws) -> Result<Value, ScenarioError> {
    match value {
        Value::Table(table) => {
            let draw = draws.named(Label::Scenario, path, 0);
            if let (Some(from), Some(to)) = (table.get("from"), table.get("to"))
                && !table.contains_key("latency")
            {
                return range(from, to, table, path, draw);
            }
            if let Some(pick) = table.get("pick").and_then(Value::as_array) {
                let chosen = pick.get(draw.index(pick.len()));
                let chosen = chosen.ok_or_else(|| ScenarioError::new(path, "picks from nothing"))?;
                return exact_value(chosen, &format!("{path}/picked"), draws);
            }
            let inner = table.iter().map(|(key, value)| {
                let value = exact_value(value, &format!("{path}/{key}"), draws)?;
                Ok((key.clone(), value))
            });
            Ok(Value::Table(inner.collect::<Result<_, ScenarioError>>()?))
        }
        Value::Array(list) => {
            let inner = list.iter().enumerate();
            let inner = inner.map(|(index, value)| exact_value(value, &format!("{path}/{index}"), draws));
            Ok(Value::Array(inner.collect::<Result<_, _>>()?))
        }
        Value::String(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {
            Ok(value.clone())
        }
    }
}

fn range(from: &Value, to: &Value, table: &Table, path: &str, draw: Draw) -> Result<Value, ScenarioError> {
    let logarithmic = match table.get("scale").map(Value::as_str) {
        None => false,
        Some(Some("log")) => true,
        Some(_) => return Err(ScenarioError::new(path, "a range's `scale` is \"log\", or absent")),
    };
    let times = from.is_str();
    let (low, high) = (bound(from, path)?, bound(to, path)?);
    if low > high {
        return Err(ScenarioError::new(path, "a range's `from` is greater than its `to`"));
    }
    let drawn = if logarithmic { draw.log_between(low, high) } else { draw.between(low, high) };
    if times {
        return Ok(Value::String(format_duration(drawn)));
    }
    Ok(Value::Integer(i64::try_from(drawn).map_err(|_| ScenarioError::new(path, "a range is too wide"))?))
}

fn bound(value: &Value, path: &str) -> Result<u64, ScenarioError> {
    match value {
        Value::String(text) => parse_duration(text).map_err(|why| ScenarioError::new(path, &why)),
        Value::Integer(number) => u64::try_from(*number).map_err(|_| ScenarioError::new(path, "a range is below zero")),
        Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => {
            Err(ScenarioError::new(path, "a range is of whole numbers or of times"))
        }
    }
}

fn whole(value: &Value, path: &str, key: &str) -> Result<u64, ScenarioError> {
    let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
    number.ok_or_else(|| ScenarioError::new(path, &format!("`{key}` is not a whole number")))
}

fn probability(value: &Value, path: &str, key: &str) -> Result<f64, ScenarioError> {
    let number = value.as_float().or_else(|| value.as_integer().map(|number| number as f64));
    let number = number.filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| ScenarioError::new(path, &format!("`{key}` is not a probability")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str, seed: u64) -> Table {
        let template: Table = text.parse().expect("TOML");
        expand(&template, Draws::new(seed)).expect("a good template")
    }

    #[test]
    fn ranges_become_values_of_their_kind() {
        let text = r#"
            [disk]
            sync = { from = "10us", to = "100ms", scale = "log" }
            preset = { pick = ["ordered", "adversarial"] }
            [config]
            "log.segment.bytes" = { from = 1000, to = 2000 }
        "#;
        for seed in 0..50 {
            let exact = expanded(text, seed);
            let sync = exact["disk"]["sync"].as_str().expect("a time");
            assert!((10_000..=100_000_000).contains(&parse_duration(sync).expect("exact")));
            assert!((1000..=2000).contains(&exact["config"]["log.segment.bytes"].as_integer().expect("a number")));
        }
    }

    #[test]
    fn expanding_the_exact_file_changes_nothing() {
        let text = r#"
            duration = "60s"
            [[event]]
            at = { from = "1s", to = "50s" }
            times = 3
            pick = [{ kill = { down = "1s" } }, { pause = {} }]
        "#;
        let exact = expanded(text, 4);
        assert_eq!(expand(&exact, Draws::new(99)).expect("exact"), exact);
    }

    #[test]
    fn an_event_becomes_several_with_names() {
        let text = r#"
            [[event]]
            name = "trouble"
            at = { from = "1s", to = "9s" }
            times = { from = 5, to = 9 }
            pick = [{ kill = {} }, { pause = {} }]
        "#;
        let exact = expanded(text, 1);
        let events = exact["event"].as_array().expect("a list");
        assert!((5..=9).contains(&events.len()));
        assert_eq!(events[2]["name"].as_str(), Some("trouble-2"));
        assert!(events.iter().any(|event| event.get("kill").is_some()));
        assert!(events.iter().any(|event| event.get("pause").is_some()));
    }

    #[test]
    fn classes_are_switched_off_for_a_whole_seed() {
        let text = r#"
            [[event]]
            at = "1s"
            times = 20
            each_on = 0.5
            pick = [{ kill = {} }, { pause = {} }]
        "#;
        let counts: Vec<usize> = (0..100)
            .map(|seed| {
                let exact = expanded(text, seed);
                exact["event"].as_array().expect("a list").iter().filter(|e| e.get("kill").is_some()).count()
            })
            .collect();
        assert!(counts.iter().filter(|count| **count == 0).count() > 30);
        assert!(counts.iter().filter(|count| **count == 20).count() > 10);
    }

    #[test]
    fn taking_an_event_away_leaves_the_others_alone() {
        let both = r#"
            [[event]]
            name = "a"
            at = { from = "1s", to = "9s" }
            kill = {}
            [[event]]
            name = "b"
            at = { from = "1s", to = "9s" }
            pause = {}
        "#;
        let only = &both[both.rfind("[[event]]").expect("two")..];
        assert_eq!(expanded(both, 5)["event"][1], expanded(only, 5)["event"][0]);
    }

    #[test]
    fn bad_ranges_are_named() {
        for (text, why) in [
            ("a = { from = 5, to = 1 }", "greater"),
            ("a = { from = \"5\", to = \"6s\" }", "not a time"),
            ("a = { pick = [] }", "nothing"),
            ("[[event]]\nchance = 3", "probability"),
        ] {
            let template: Table = text.parse().expect("TOML");
            let error = expand(&template, Draws::new(1)).expect_err(text).to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
