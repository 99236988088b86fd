//! `/v1/load_lora_adapter` and `/v1/unload_lora_adapter`. Any path is found: there is no file to look for.

use http::Response;

use crate::app::{App, Call, Failure};
use crate::reply::{ApiError, ErrorType, Reply, plain};

/// Adapters that can be loaded together, and names that one server will learn.
const MAX_ADAPTERS: usize = 1024;

pub(crate) fn load(app: &App, call: &Call) -> Result<Response<Reply>, Failure> {
    let fields = call.fields()?;
    fields.require("lora_name")?;
    fields.require("lora_path")?;
    let (name, path) =
        (fields.text("lora_name")?.unwrap_or_default(), fields.text("lora_path")?.unwrap_or_default());
    if name.is_empty() || path.is_empty() {
        let message = "Both 'lora_name' and 'lora_path' must be provided.";
        return Err(ApiError::new(ErrorType::InvalidUserInput, message).into());
    }
    if app.live.adapters_named() >= MAX_ADAPTERS {
        let message = format!("This server has had {MAX_ADAPTERS} adapters and takes no more.");
        return Err(ApiError::new(ErrorType::InvalidUserInput, message).into());
    }
    if !app.load_adapter(name, path) {
        let message = format!(
            "The lora adapter '{name}' has already been loaded. If you want to load the adapter in place, set \
             'load_inplace' to True."
        );
        return Err(ApiError::new(ErrorType::InvalidUserInput, message).into());
    }
    Ok(plain(format!("Success: LoRA adapter '{name}' added successfully.")))
}

pub(crate) fn unload(app: &App, call: &Call) -> Result<Response<Reply>, Failure> {
    let fields = call.fields()?;
    fields.require("lora_name")?;
    let name = fields.text("lora_name")?.unwrap_or_default();
    if !app.unload_adapter(name) {
        let message = format!("The lora adapter '{name}' cannot be found.");
        return Err(ApiError::new(ErrorType::NotFound, message).into());
    }
    Ok(plain(format!("Success: LoRA adapter '{name}' removed successfully.")))
}
