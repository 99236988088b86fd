//! `/v1/load_lora_adapter` and `/v1/unload_lora_adapter`. Every path is accepted, since no file is read.

use http::Response;

use super::request::ApiRequest;
use crate::app::App;
use crate::error::{ApiError, ErrorType, Failure};
use crate::response::{ResponseBody, untyped};

/// Upper bound of the adapter names that one server accepts over its lifetime.
const MAX_ADAPTERS: usize = 1024;

pub(crate) fn load(app: &App, request: &ApiRequest) -> Result<Response<ResponseBody>, Failure> {
    let fields = request.fields()?;
    fields.require("lora_name")?;
    fields.require("lora_path")?;
    let name = fields.string("lora_name")?.unwrap_or_default();
    let path = fields.string("lora_path")?.unwrap_or_default();
    let invalid = |message: String| Err(ApiError::new(ErrorType::InvalidUserInput, message).into());
    if name.is_empty() || path.is_empty() {
        return invalid("Both 'lora_name' and 'lora_path' must be provided.".to_owned());
    }
    if app.engine.lock().adapter_names.len() >= MAX_ADAPTERS {
        return invalid(format!("This server has had {MAX_ADAPTERS} adapters and takes no more."));
    }
    if !app.load_adapter(name, path) {
        return invalid(format!(
            "The lora adapter '{name}' has already been loaded. If you want to load the adapter in place, set \
             'load_inplace' to True."
        ));
    }
    Ok(untyped(format!("Success: LoRA adapter '{name}' added successfully.")))
}

pub(crate) fn unload(app: &App, request: &ApiRequest) -> Result<Response<ResponseBody>, Failure> {
    let fields = request.fields()?;
    let name = fields.required_string("lora_name")?;
    if !app.unload_adapter(name) {
        let message = format!("The lora adapter '{name}' cannot be found.");
        return Err(ApiError::new(ErrorType::NotFound, message).into());
    }
    Ok(untyped(format!("Success: LoRA adapter '{name}' removed successfully.")))
}
