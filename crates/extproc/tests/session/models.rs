//! Model rules, whatever names the model.

use std::sync::Arc;

use pointsman_config::{Consumer, Options, SourceText, load};
use pointsman_extproc::SessionOptions;
use pointsman_extproc::wire::ProcessingRequest;

use crate::support::*;

const PICKED: &str = "request head x-gateway-destination-endpoint=10.0.0.1:8000 clear +metadata";

const WAV: &str = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n";

fn field(model: &str) -> String {
    format!("--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n")
}

fn upload() -> ProcessingRequest {
    head("POST /v1/audio/transcriptions", &[("content-type", "multipart/form-data; boundary=x")], false)
}

/// A pool that serves `speech` as `whisper` and nothing else.
fn strict() -> TestPool {
    let text = r"
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: p}
spec:
  selector: {matchLabels: {app: p}}
  targetPorts: [{number: 8000}]
  endpointPickerRef: {name: e, port: {number: 9002}}
---
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferenceModel
metadata: {name: speech}
spec: {modelName: speech, poolRef: {name: p}, targetModels: [{name: whisper, weight: 1}]}
---
apiVersion: pointsman.dev/v1alpha1
kind: PoolPolicy
metadata: {name: p}
spec: {poolRef: {name: p}, undeclaredModels: reject}
";
    let options = Options { consumer: Consumer::Picker { config: None }, ..Options::default() };
    let loaded = load(&[SourceText::new("test.yaml", text)], &options);
    assert!(!loaded.has_errors(), "{:?}", loaded.problems);
    TestPool { rules: Arc::clone(&loaded.world.pools[0].models), ..TestPool::default() }
}

#[test]
fn a_forms_model_is_found_and_rewritten_as_it_streams() {
    let run = |messages: Vec<ProcessingRequest>| Rig::over(strict(), SessionOptions::default()).run(messages);
    let start = format!("{}{}", field("speech"), &WAV[..20]);
    let said = run(vec![upload(), body(&start, false), body(&WAV[20..], false), body("--x--\r\n", true)]);
    assert_eq!(said.len(), 4, "{said:?}");
    assert_eq!(said[0], PICKED);
    assert!(said[1].starts_with("request body ") && !said[1].ends_with(" end"), "{}", said[1]);
    assert_eq!(said[3], "request body \"--x--\\r\\n\" end");
    // The file first: it is held until the model is known.
    let said = run(vec![upload(), body(WAV, false), body(&field("speech"), false), body("--x--\r\n", true)]);
    assert_eq!(said.len(), 2, "{said:?}");
    let said = run(vec![upload(), body(&[WAV, &field("nope"), "--x--\r\n"].concat(), true)]);
    assert_eq!(said, ["404 undeclared_model", "end"]);
    let twice = vec![upload(), body(&[&field("speech"), WAV].concat(), false), body(&field("nope"), true)];
    assert_eq!(run(twice)[2..], ["400 invalid_body", "end"]);
}

#[test]
fn a_buffered_form_is_replaced_whole() {
    let form = [WAV, &field("speech"), "--x--\r\n"].concat();
    let mut rig = Rig::over(strict(), SessionOptions::default());
    let said = rig.run(vec![with_modes(upload(), BUFFERED, NONE), body(&form, true)]);
    let length = form.len() + "whisper".len() - "speech".len();
    assert!(
        said[1].contains(&format!(" content-length={length}"))
            && said[1].contains(&format!("whole {length} bytes")),
        "{said:?}"
    );
}

#[test]
fn a_model_in_the_path_is_rewritten() {
    let azure =
        head("POST /openai/deployments/speech/embeddings", &[("content-type", "application/json")], false);
    let said = Rig::over(strict(), SessionOptions::default()).run(vec![azure, body("{}", true)]);
    assert!(said[0].contains(" :path=/openai/deployments/whisper/embeddings"), "{said:?}");
    assert_eq!(said[1], r#"request body "{\"model\":\"whisper\"}" end"#);
}

#[test]
fn without_bodies_a_pool_that_rejects_models_serves_none() {
    for mode in [NONE, STREAMED] {
        let said =
            Rig::over(strict(), SessionOptions::default()).run(vec![with_modes(completions(), mode, NONE)]);
        assert_eq!(said, ["400 missing_model", "end"]);
    }
}
