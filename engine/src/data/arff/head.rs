//! What an `.arff` file says above its data: attributes and the classes.

use super::super::number::quoted;
use super::cells;

/// The lines above `@data`.
#[derive(Debug, Default)]
pub(super) struct Head {
    attributes: Vec<Attribute>,
    /// The relational attribute that is open: its name and how many values its rows have.
    open: Option<(String, usize)>,
}

#[derive(Debug)]
struct Attribute {
    name: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Numeric,
    Nominal(Vec<String>),
    /// Rows of so many values.
    Relational(usize),
}

/// What the cells of a row of data are.
#[derive(Debug)]
pub(super) struct Plan {
    /// How many cells a row has.
    pub(super) n_cells: usize,
    /// The cell of the class.
    pub(super) label: Option<usize>,
    /// All classes.
    pub(super) classes: Vec<String>,
    /// The cell of the relational attribute, and how many values its rows have; without one the numeric
    /// cells are the values.
    pub(super) relation: Option<(usize, usize)>,
}

impl Head {
    /// Takes a line; the plan, if it is `@data`.
    pub(super) fn take(&mut self, line: &[u8]) -> Result<Option<Plan>, String> {
        let Some(text) = std::str::from_utf8(line).ok().filter(|text| text.starts_with('@')) else {
            return Err(format!(
                "expected a header line that starts with @ or %, found {}; check that this is an \
                 .arff file",
                quoted(line)
            ));
        };
        let (key, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let rest = rest.trim();
        match key.to_ascii_lowercase().as_str() {
            "@relation" => {}
            "@attribute" => self.attribute(rest)?,
            "@end" => match self.open.take() {
                Some((name, n_values)) if name == word(rest)?.0 => {
                    self.attributes.push(Attribute { name, kind: Kind::Relational(n_values) });
                }
                _ => return Err(format!("@end {rest} ends no attribute; correct the header")),
            },
            "@data" => {
                if let Some((name, _)) = &self.open {
                    return Err(format!("no @end of the relational attribute {name:?}; add it"));
                }
                return self.plan().map(Some);
            }
            _ => return Err(format!("{} is not understood; correct it", quoted(key.as_bytes()))),
        }
        Ok(None)
    }

    fn attribute(&mut self, text: &str) -> Result<(), String> {
        let (name, kind) = word(text)?;
        let refused = |what: &str| {
            Err(format!(
                "the attribute {name:?} is {what}, which is not read; leave it out of the file"
            ))
        };
        if let Some(list) = kind.strip_prefix('{') {
            let Some(list) = list.trim_end().strip_suffix('}') else {
                return Err(format!(
                    "the classes of {name:?} do not end in a }}; correct the line"
                ));
            };
            if self.open.is_some() {
                return refused("nominal inside a relational one");
            }
            let list = cells::split(list.as_bytes())?;
            let text = |cell: &Vec<u8>| String::from_utf8_lossy(cell).into_owned();
            let kind = Kind::Nominal(list.iter().map(text).collect());
            self.attributes.push(Attribute { name, kind });
            return Ok(());
        }
        let kind = kind.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
        match (kind.as_str(), &mut self.open) {
            ("numeric" | "real" | "integer", Some((_, n_values))) => *n_values += 1,
            ("numeric" | "real" | "integer", None) => {
                self.attributes.push(Attribute { name, kind: Kind::Numeric });
            }
            ("relational", None) => self.open = Some((name, 0)),
            ("relational", Some(_)) => return refused("relational inside a relational one"),
            ("string", _) => return refused("a string"),
            ("date", _) => return refused("a date"),
            _ => {
                return Err(format!(
                    "the attribute {name:?} needs a type (numeric, relational or a list of classes \
                     in braces), found {}; correct it",
                    quoted(kind.as_bytes())
                ));
            }
        }
        Ok(())
    }

    /// What the attributes are for.
    fn plan(&mut self) -> Result<Plan, String> {
        let attributes = std::mem::take(&mut self.attributes);
        let mut plan =
            Plan { n_cells: attributes.len(), label: None, classes: Vec::new(), relation: None };
        let (mut first_class, mut n_values) = (String::new(), 0);
        for (cell, Attribute { name, kind }) in attributes.into_iter().enumerate() {
            match kind {
                Kind::Numeric => n_values += 1,
                Kind::Nominal(_) if plan.label.is_some() => {
                    return Err(format!(
                        "the attributes {first_class:?} and {name:?} both list classes; leave one \
                         out of the file",
                    ));
                }
                Kind::Nominal(classes) => {
                    (plan.label, plan.classes, first_class) = (Some(cell), classes, name);
                }
                Kind::Relational(_) if plan.relation.is_some() => {
                    return Err(format!(
                        "{name:?} is a second relational attribute; leave one out of the file"
                    ));
                }
                Kind::Relational(n_values) => plan.relation = Some((cell, n_values)),
            }
        }
        match (plan.relation, n_values) {
            (None | Some((_, 0)), 0) => {
                Err("no numeric attribute above @data; check the header".to_owned())
            }
            (Some(_), 1..) => {
                Err("numeric attributes beside a relational one are not read; leave \
                                   them out of the file"
                    .to_owned())
            }
            _ => Ok(plan),
        }
    }
}

/// The first word of a text, which may be in quotes, and what follows.
fn word(text: &str) -> Result<(String, &str), String> {
    let quote = text.chars().next().filter(|sign| matches!(sign, '\'' | '"'));
    let split = match quote {
        Some(quote) => text[1..].split_once(quote),
        None => Some(text.split_once(char::is_whitespace).unwrap_or((text, ""))),
    };
    let (word, rest) = split.ok_or("a quote is not closed; correct the line")?;
    if word.is_empty() {
        return Err("a name is missing; correct the line".to_owned());
    }
    Ok((word.to_owned(), rest.trim_start()))
}
