//! Request bodies as JSON objects, with vLLM's validation errors.

use serde_json::{Map, Value};

use crate::error::{ApiError, ErrorType};

/// The fields of a JSON object.
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    /// Parses a body.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        if body.is_empty() {
            return Err(invalid("missing", "body", "Field required", "None"));
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(invalid(
                "model_attributes_type",
                "body",
                "Input should be a valid dictionary or object to extract fields from",
                "<not an object>",
            )),
            Err(error) => Err(not_json(body, &error)),
        }
    }

    /// The field, unless it is absent or null.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A required field.
    pub(crate) fn require(&self, name: &str) -> Result<&Value, ApiError> {
        self.get(name).ok_or_else(|| {
            let input = format!("<dict of {} items>", self.0.len());
            invalid("missing", &format!("body.{name}"), "Field required", &input)
        })
    }

    pub(crate) fn string(&self, name: &str) -> Result<Option<&str>, ApiError> {
        self.typed(name, "string_type", "Input should be a valid string", Value::as_str)
    }

    pub(crate) fn required_string(&self, name: &str) -> Result<&str, ApiError> {
        self.require(name)?;
        Ok(self.string(name)?.unwrap_or_default())
    }

    pub(crate) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        let flag = self.typed(name, "bool_type", "Input should be a valid boolean", Value::as_bool)?;
        Ok(flag.unwrap_or(false))
    }

    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, ApiError> {
        self.typed(name, "int_type", "Input should be a valid integer", Value::as_i64)
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<f64>, ApiError> {
        self.typed(name, "float_type", "Input should be a valid number", Value::as_f64)
    }

    pub(crate) fn object(&self, name: &str) -> Result<Option<&Map<String, Value>>, ApiError> {
        self.typed(name, "dict_type", "Input should be a valid dictionary", Value::as_object)
    }

    /// A required list.
    pub(crate) fn list(&self, name: &str) -> Result<&[Value], ApiError> {
        self.require(name)?;
        let list = self.typed(name, "list_type", "Input should be a valid list", Value::as_array)?;
        Ok(list.map(Vec::as_slice).unwrap_or_default())
    }

    /// A string or a list of strings; empty where the field is absent.
    pub(crate) fn strings(&self, name: &str) -> Result<Vec<String>, ApiError> {
        let wrong =
            || invalid("string_type", &format!("body.{name}"), "Input should be a valid string", "<other>");
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text.clone()]),
            Some(Value::Array(texts)) => {
                texts.iter().map(|text| text.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
            }
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => Err(wrong()),
        }
    }

    fn typed<'a, T>(
        &'a self,
        name: &str,
        kind: &str,
        message: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| invalid(kind, &format!("body.{name}"), message, kind_of(value)))
    }
}

/// The error of a body that does not have the API's form. `input` is the kind of the value, never the value itself: it
/// may be a prompt.
pub(crate) fn invalid(kind: &str, location: &str, message: &str, input: &str) -> ApiError {
    let text = format!(
        "1 validation error:\n  {{'type': '{kind}', 'loc': '{location}', 'msg': '{message}', 'input': '{input}'}}"
    );
    ApiError::with_param(ErrorType::BadRequest, location, text)
}

fn not_json(body: &[u8], error: &serde_json::Error) -> ApiError {
    // vLLM reports the offset at which Python's decoder failed.
    let lines_before = body.split_inclusive(|byte| *byte == b'\n').take(error.line().saturating_sub(1));
    let offset = lines_before.map(<[u8]>::len).sum::<usize>() + error.column().saturating_sub(1);
    let location = format!("body.{offset}");
    let reason =
        if error.is_eof() { "Expecting value" } else { "Expecting property name enclosed in double quotes" };
    let text = format!(
        "1 validation error:\n  {{'type': 'json_invalid', 'loc': '{location}', 'msg': 'JSON decode error', \
         'input': '<dict of 0 items>', 'ctx': {{'error': '{reason}'}}}}"
    );
    ApiError::with_param(ErrorType::BadRequest, location, text)
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "None",
        Value::Bool(_) => "<bool>",
        Value::Number(_) => "<number>",
        Value::String(_) => "<string>",
        Value::Array(_) => "<list>",
        Value::Object(_) => "<dict>",
    }
}
