//! Formulas of bands, as users write them: parsed once, evaluated for many pixels at a time.
//!
//! `+ - * / ^`, parentheses, numbers, band names and the functions of [`FUNCTIONS`]; `^` binds tighter than the sign
//! before it and groups to the right, as in mathematics: `-a^2` is `-(a^2)`, `a^b^c` is `a^(b^c)`.

/// Names of functions with their numbers of arguments.
pub const FUNCTIONS: [(&str, usize); 8] =
    [("abs", 1), ("sqrt", 1), ("exp", 1), ("log", 1), ("tanh", 1), ("min", 2), ("max", 2), ("clamp", 3)];

/// Pixels that are evaluated together.
const WIDTH: usize = 256;

/// Deepest nesting of a formula: far beyond what anyone writes, and safe for the stack.
const DEPTH: usize = 64;

/// A formula, as steps on a stack of intermediate values.
#[derive(Clone, Debug)]
pub struct Expression {
    steps: Vec<Step>,
    /// Most values on the stack.
    height: usize,
}

/// Where and why a text is no formula.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Character at which the trouble begins, from 1.
    pub column: usize,
    /// What would be right.
    pub expected: String,
    /// What is there.
    pub found: String,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Number(f32),
    Band(usize),
    Unary(Unary),
    Binary(Binary),
    Clamp,
}

#[derive(Clone, Copy, Debug)]
enum Unary {
    Negate,
    Abs,
    Sqrt,
    Exp,
    Log,
    Tanh,
}

#[derive(Clone, Copy, Debug)]
enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    Power,
    Min,
    Max,
}

impl Expression {
    /// Parses a formula of the named bands.
    ///
    /// # Errors
    /// A [`Flaw`] for a text that is no formula or names an unknown band or function.
    pub fn parse(text: &str, bands: &[&str]) -> Result<Expression, Flaw> {
        let tokens = tokens(text)?;
        let mut parser = Parser { tokens: &tokens, next: 0, bands, steps: Vec::new(), depth: 0 };
        parser.sum()?;
        if parser.peek() != &Token::End {
            return Err(parser.flaw("an operator or the end"));
        }
        let height = height(&parser.steps);
        Ok(Expression { steps: parser.steps, height })
    }

    /// The formula's value in each pixel. NaN where it is not finite, such as at a division by zero, and where a band
    /// that it needs is NaN.
    ///
    /// # Shapes
    /// - bands: `[band][pixel]`, in the order that the formula was parsed with; output: `[pixel]`
    pub fn evaluate(&self, bands: &[&[f32]], output: &mut [f32]) {
        let mut stack = vec![[0.0_f32; WIDTH]; self.height];
        for (block, output) in output.chunks_mut(WIDTH).enumerate() {
            let n = output.len();
            let mut top = 0;
            for step in &self.steps {
                match *step {
                    Step::Number(number) => stack[top].fill(number),
                    Step::Band(band) => stack[top][..n].copy_from_slice(&bands[band][block * WIDTH..][..n]),
                    Step::Unary(function) => function.apply(&mut stack[top - 1]),
                    Step::Binary(operator) => {
                        let (left, right) = stack.split_at_mut(top - 1);
                        operator.apply(&mut left[top - 2], &right[0]);
                    }
                    Step::Clamp => {
                        let (value, limits) = stack.split_at_mut(top - 2);
                        let limits = limits[0].iter().zip(&limits[1]);
                        for (value, (&low, &high)) in value[top - 3].iter_mut().zip(limits) {
                            *value = smaller(larger(*value, low), high);
                        }
                    }
                }
                top = (top as isize + step.growth()) as usize;
            }
            for (output, &value) in output.iter_mut().zip(&stack[0]) {
                *output = if value.is_finite() { value } else { f32::NAN };
            }
        }
    }
}

impl Step {
    /// By how many values the stack grows.
    fn growth(self) -> isize {
        match self {
            Step::Number(_) | Step::Band(_) => 1,
            Step::Unary(_) => 0,
            Step::Binary(_) => -1,
            Step::Clamp => -2,
        }
    }
}

impl Unary {
    fn apply(self, values: &mut [f32; WIDTH]) {
        let each = |function: fn(f32) -> f32, values: &mut [f32; WIDTH]| {
            values.iter_mut().for_each(|value| *value = function(*value));
        };
        match self {
            Unary::Negate => values.iter_mut().for_each(|value| *value = -*value),
            Unary::Abs => each(f32::abs, values),
            Unary::Sqrt => each(f32::sqrt, values),
            Unary::Exp => each(f32::exp, values),
            Unary::Log => each(f32::ln, values),
            Unary::Tanh => each(f32::tanh, values),
        }
    }
}

impl Binary {
    /// `left` becomes the result.
    fn apply(self, left: &mut [f32; WIDTH], right: &[f32; WIDTH]) {
        let pairs = left.iter_mut().zip(right);
        match self {
            Binary::Add => pairs.for_each(|(left, right)| *left += right),
            Binary::Subtract => pairs.for_each(|(left, right)| *left -= right),
            Binary::Multiply => pairs.for_each(|(left, right)| *left *= right),
            Binary::Divide => pairs.for_each(|(left, right)| *left /= right),
            Binary::Power => pairs.for_each(|(left, &right)| *left = power(*left, right)),
            Binary::Min => pairs.for_each(|(left, &right)| *left = smaller(*left, right)),
            Binary::Max => pairs.for_each(|(left, &right)| *left = larger(*left, right)),
        }
    }
}

/// As `f32::powf`, with squares as products.
fn power(base: f32, exponent: f32) -> f32 {
    if exponent == 2.0 { base * base } else { base.powf(exponent) }
}

fn height(steps: &[Step]) -> usize {
    let heights = steps.iter().scan(0, |top, step| {
        *top += step.growth();
        Some(*top as usize)
    });
    heights.max().unwrap_or(0)
}

/// As `f32::min`, but NaN where either is.
fn smaller(a: f32, b: f32) -> f32 {
    if a.is_nan() || a < b { a } else { b }
}

/// As `f32::max`, but NaN where either is.
fn larger(a: f32, b: f32) -> f32 {
    if a.is_nan() || a > b { a } else { b }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Number(f32),
    Name(String),
    Symbol(char),
    End,
}

impl Token {
    fn text(&self) -> String {
        match self {
            Token::Number(number) => number.to_string(),
            Token::Name(name) => format!("`{name}`"),
            Token::Symbol(symbol) => format!("`{symbol}`"),
            Token::End => "the end".into(),
        }
    }
}

/// The words of a text with their columns.
fn tokens(text: &str) -> Result<Vec<(usize, Token)>, Flaw> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    let run =
        |from: usize, good: fn(char) -> bool| from + chars[from..].iter().take_while(|&&c| good(c)).count();
    while let Some(&c) = chars.get(at) {
        let from = at;
        let token = if c.is_whitespace() {
            at += 1;
            continue;
        } else if c.is_ascii_digit() || c == '.' {
            at = run(at, |c| c.is_ascii_digit() || c == '.');
            if chars.get(at).is_some_and(|c| "eE".contains(*c)) {
                let sign = usize::from(chars.get(at + 1).is_some_and(|c| "+-".contains(*c)));
                at = run(at + 1 + sign, |c| c.is_ascii_digit());
            }
            let number: String = chars[from..at].iter().collect();
            let flaw =
                || Flaw { column: from + 1, expected: "a number".into(), found: format!("`{number}`") };
            Token::Number(number.parse().map_err(|_| flaw())?)
        } else if c.is_ascii_alphabetic() || c == '_' {
            at = run(at, |c| c.is_ascii_alphanumeric() || c == '_');
            Token::Name(chars[from..at].iter().collect())
        } else if "+-*/^(),".contains(c) {
            at += 1;
            Token::Symbol(c)
        } else {
            let expected = "a number, a band, a function or one of + - * / ^ ( ) ,".into();
            return Err(Flaw { column: from + 1, expected, found: format!("`{c}`") });
        };
        tokens.push((from + 1, token));
    }
    tokens.push((chars.len() + 1, Token::End));
    Ok(tokens)
}

/// Recursive descent; each method parses one level of binding and appends its steps.
struct Parser<'a> {
    tokens: &'a [(usize, Token)],
    next: usize,
    bands: &'a [&'a str],
    steps: Vec<Step>,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        &self.tokens[self.next].1
    }

    fn flaw(&self, expected: &str) -> Flaw {
        let (column, token) = &self.tokens[self.next];
        Flaw { column: *column, expected: expected.to_owned(), found: token.text() }
    }

    /// Takes the next token if it is one of the symbols.
    fn take(&mut self, symbols: &str) -> Option<char> {
        match self.peek() {
            &Token::Symbol(symbol) if symbols.contains(symbol) => {
                self.next += 1;
                Some(symbol)
            }
            _ => None,
        }
    }

    fn expect(&mut self, symbol: &str, expected: &str) -> Result<(), Flaw> {
        self.take(symbol).map(|_| ()).ok_or_else(|| self.flaw(expected))
    }

    fn sum(&mut self) -> Result<(), Flaw> {
        self.product()?;
        while let Some(symbol) = self.take("+-") {
            self.product()?;
            let operator = if symbol == '+' { Binary::Add } else { Binary::Subtract };
            self.steps.push(Step::Binary(operator));
        }
        Ok(())
    }

    fn product(&mut self) -> Result<(), Flaw> {
        self.signed()?;
        while let Some(symbol) = self.take("*/") {
            self.signed()?;
            let operator = if symbol == '*' { Binary::Multiply } else { Binary::Divide };
            self.steps.push(Step::Binary(operator));
        }
        Ok(())
    }

    /// Every nesting passes here.
    fn signed(&mut self) -> Result<(), Flaw> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(self.flaw("fewer than 64 levels of nesting"));
        }
        match self.take("+-") {
            Some(symbol) => {
                self.signed()?;
                if symbol == '-' {
                    self.steps.push(Step::Unary(Unary::Negate));
                }
            }
            None => self.power()?,
        }
        self.depth -= 1;
        Ok(())
    }

    fn power(&mut self) -> Result<(), Flaw> {
        self.operand()?;
        if self.take("^").is_some() {
            self.signed()?;
            self.steps.push(Step::Binary(Binary::Power));
        }
        Ok(())
    }

    fn operand(&mut self) -> Result<(), Flaw> {
        match self.peek().clone() {
            Token::Number(number) => {
                self.next += 1;
                self.steps.push(Step::Number(number));
                Ok(())
            }
            Token::Name(name) => self.name(&name),
            Token::Symbol('(') => {
                self.next += 1;
                self.sum()?;
                self.expect(")", "an operator or `)`")
            }
            _ => Err(self.flaw("a number, a band, a function or `(`")),
        }
    }

    fn name(&mut self, name: &str) -> Result<(), Flaw> {
        if let Some(&(_, arguments)) = FUNCTIONS.iter().find(|(function, _)| *function == name) {
            self.next += 1;
            return self.call(name, arguments);
        }
        let Some(band) = self.bands.iter().position(|band| *band == name) else {
            let functions = FUNCTIONS.map(|(function, _)| function).join(", ");
            return Err(self.flaw(&format!("a band ({}) or a function ({functions})", self.bands.join(", "))));
        };
        self.next += 1;
        self.steps.push(Step::Band(band));
        Ok(())
    }

    fn call(&mut self, name: &str, arguments: usize) -> Result<(), Flaw> {
        self.expect("(", &format!("`(` after `{name}`"))?;
        for argument in 0..arguments {
            if argument > 0 {
                self.expect(",", &format!("`,`: `{name}` has {arguments} arguments"))?;
            }
            self.sum()?;
        }
        self.expect(")", &format!("an operator or `)`: `{name}` has {arguments} arguments"))?;
        self.steps.push(match name {
            "abs" => Step::Unary(Unary::Abs),
            "sqrt" => Step::Unary(Unary::Sqrt),
            "exp" => Step::Unary(Unary::Exp),
            "log" => Step::Unary(Unary::Log),
            "tanh" => Step::Unary(Unary::Tanh),
            "min" => Step::Binary(Binary::Min),
            "max" => Step::Binary(Binary::Max),
            _ => Step::Clamp,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BANDS: [&str; 3] = ["red", "nir", "swir16"];

    /// With red 0.1, nir 0.4, swir16 NaN.
    fn value(text: &str) -> f32 {
        let mut output = [0.0; 300];
        let bands: [&[f32]; 3] = [&[0.1; 300], &[0.4; 300], &[f32::NAN; 300]];
        Expression::parse(text, &BANDS).unwrap().evaluate(&bands, &mut output);
        assert!(output.iter().all(|v| v.to_bits() == output[0].to_bits()));
        output[0]
    }

    #[test]
    fn numbers_worked_by_hand() {
        for (text, expected) in [
            ("1 + 2 * 3", 7.0),
            ("(1 + 2) * 3", 9.0),
            ("8 - 4 - 2", 2.0),
            ("8 / 4 / 2", 1.0),
            ("2 ^ 3 ^ 2", 512.0),
            ("-2 ^ 2", -4.0),
            ("2 ^ -1", 0.5),
            ("--3 + +1", 4.0),
            ("2 * -3", -6.0),
            ("1.5e1 + .5 + 2.E-1", 15.7),
            ("(nir - red) / (nir + red + 1e-8)", 0.6),
            ("min(red, nir) + max(red, nir)", 0.5),
            ("clamp(nir, 0, 0.3) + clamp(-nir, 0, 1) + clamp(0.2, 0, 1)", 0.5),
            ("abs(red - nir) + sqrt(4) + exp(0) + log(1)", 3.3),
            ("tanh(((nir - red) / (2 * 0.15)) ^ 2)", 0.761_594),
        ] {
            assert!((value(text) - expected).abs() < 1e-5, "{text}: {}", value(text));
        }
    }

    #[test]
    fn what_is_not_finite_or_missing_is_nan() {
        for text in [
            "1 / (red - red)",
            "log(-1)",
            "swir16",
            "min(swir16, 1)",
            "max(1, swir16)",
            "clamp(swir16, 0, 1)",
        ] {
            assert!(value(text).is_nan(), "{text}");
        }
        assert_eq!(value("red + 0.4"), 0.5, "a band that is not used may be missing");
    }

    #[test]
    fn flaws_say_where_and_what() {
        let nested = "(".repeat(100);
        for (text, column, expected, found) in [
            ("nir - redd", 7, "a band (red, nir, swir16) or a function (abs, ", "`redd`"),
            ("nir + ", 7, "a number, a band, a function or `(`", "the end"),
            ("(nir - red", 11, "an operator or `)`", "the end"),
            ("nir red", 5, "an operator or the end", "`red`"),
            ("nir % red", 5, "one of + - * / ^ ( ) ,", "`%`"),
            ("min(nir)", 8, "`,`: `min` has 2 arguments", "`)`"),
            ("abs(nir, red)", 8, "`)`: `abs` has 1 arguments", "`,`"),
            ("sqrt nir", 6, "`(` after `sqrt`", "`nir`"),
            ("1.2.3", 1, "a number", "`1.2.3`"),
            ("µ", 1, "a number, a band", "`µ`"),
            ("", 1, "a number", "the end"),
            (&nested, 65, "fewer than 64 levels", "`(`"),
        ] {
            let flaw = Expression::parse(text, &BANDS).unwrap_err();
            assert!(
                flaw.column == column && flaw.expected.contains(expected) && flaw.found == found,
                "{text}: {flaw:?}"
            );
        }
    }
}
