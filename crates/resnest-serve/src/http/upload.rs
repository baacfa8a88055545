//! Images as people post them: a file as it is, a form with files, or the Hugging Face API's JSON.

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use serde::Deserialize;

use super::object::Object;
use super::tensors::from_base64;
use crate::{Failure, Outcome};

/// What came.
#[derive(Debug, Clone, PartialEq)]
pub struct Upload {
    /// The images, or why one of several is none.
    pub images: Vec<Bytes>,
    /// Whether the answer is one for each of several, even if there is but one.
    pub several: bool,
    /// How many classes the body asks for.
    pub top_k: Option<usize>,
    /// How scores are made of logits.
    pub function: Function,
}

/// How scores are made of logits (`function_to_apply`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Function {
    /// Probabilities that add up to 1.
    #[default]
    Softmax,
    /// Each class for itself.
    Sigmoid,
    /// The logits themselves.
    None,
}

#[derive(Deserialize)]
struct Inference {
    inputs: Inputs,
    parameters: Option<Object<Parameters>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Inputs {
    One(String),
    Several(Vec<String>),
}

#[derive(Default, Deserialize)]
struct Parameters {
    #[serde(alias = "topk")]
    top_k: Option<usize>,
    function_to_apply: Option<Function>,
}

/// Reads a body as its content type says; one that is neither JSON nor a form is an image as it is.
///
/// # Errors
/// What is wrong with it.
pub async fn read(headers: &HeaderMap, body: Bytes) -> Outcome<Upload> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let kind = kind.unwrap_or_default().trim();
    let essence = kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match essence.as_str() {
        "multipart/form-data" => form(kind, body).await,
        "application/json" => json(&body),
        _ if body.is_empty() => Err(Failure::bad_request(
            "the body is empty: send an image's bytes, a form with files, or JSON with `inputs`",
        )),
        _ => Ok(Upload {
            images: vec![body],
            several: false,
            top_k: None,
            function: Function::Softmax,
        }),
    }
}

fn json(body: &[u8]) -> Outcome<Upload> {
    let bad = |error| {
        let text = format!(
            "the body is not {{\"inputs\": base64, \"parameters\": {{\"top_k\", \"function_to_apply\"}}}}: {error}"
        );
        Failure::bad_request(text)
    };
    let Object(Inference { inputs, parameters }) = serde_json::from_slice(body).map_err(bad)?;
    let parameters = parameters
        .map(|Object(parameters)| parameters)
        .unwrap_or_default();
    let (texts, several) = match inputs {
        Inputs::One(text) => (vec![text], false),
        Inputs::Several(texts) => (texts, true),
    };
    if texts.is_empty() {
        return Err(Failure::bad_request("`inputs` has no image"));
    }
    let read = |(at, text): (usize, &String)| {
        from_base64(text)
            .map_err(|reason| Failure::bad_request(format!("`inputs`, element {at}: {reason}")))
    };
    Ok(Upload {
        images: texts.iter().enumerate().map(read).collect::<Outcome<_>>()?,
        several,
        top_k: parameters.top_k,
        function: parameters.function_to_apply.unwrap_or_default(),
    })
}

/// Every part that has content is an image, whatever it is called.
async fn form(kind: &str, body: Bytes) -> Outcome<Upload> {
    let bad = |error: multer::Error| {
        let mut text = format!("the form cannot be read: {error}");
        if let Some(cause) = std::error::Error::source(&error) {
            text = format!("{text}: {cause}");
        }
        Failure::bad_request(text)
    };
    let boundary = multer::parse_boundary(kind).map_err(bad)?;
    let whole = tokio_stream::once(Ok::<_, std::convert::Infallible>(body));
    let mut parts = multer::Multipart::new(whole, boundary);
    let mut images = Vec::new();
    while let Some(part) = parts.next_field().await.map_err(bad)? {
        let bytes = part.bytes().await.map_err(bad)?;
        if !bytes.is_empty() {
            images.push(bytes);
        }
    }
    if images.is_empty() {
        return Err(Failure::bad_request(
            "the form has no part with content: send files",
        ));
    }
    Ok(Upload {
        several: images.len() > 1,
        images,
        top_k: None,
        function: Function::Softmax,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(kind: &str, body: &str) -> Outcome<Upload> {
        let mut headers = HeaderMap::new();
        if !kind.is_empty() {
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(read(&headers, Bytes::copy_from_slice(body.as_bytes())))
    }

    #[test]
    fn a_file_needs_no_content_type_and_any_will_do() {
        for kind in [
            "",
            "image/jpeg",
            "application/x-www-form-urlencoded",
            "nonsense",
        ] {
            let upload = reads(kind, "bytes").unwrap();
            assert_eq!(
                (upload.images, upload.several),
                (vec!["bytes".into()], false),
                "{kind}"
            );
        }
        assert!(reads("image/png", "").is_err());
    }

    #[test]
    fn forms_have_as_many_images_as_parts_with_content() {
        let part = |name: &str, content: &str| {
            format!(
                "--b\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"f\"\r\n\r\n{content}\r\n"
            )
        };
        let form = |parts: &str| {
            reads(
                "Multipart/Form-Data; boundary=\"b\"",
                &format!("{parts}--b--\r\n"),
            )
        };
        let one = form(&part("image", "one")).unwrap();
        assert_eq!((one.images, one.several), (vec!["one".into()], false));
        let two = form(&(part("a", "one") + &part("b", "") + &part("a", "two"))).unwrap();
        assert_eq!(
            (two.images, two.several),
            (vec!["one".into(), "two".into()], true)
        );
        assert!(form(&part("a", "")).is_err());
        for (kind, body) in [
            ("multipart/form-data", "--b--"),
            ("multipart/form-data; boundary=b", ""),
            ("multipart/form-data; boundary=b", "--c\r\n\r\n--c--"),
            (
                "multipart/form-data; boundary=b",
                "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nhalf",
            ),
            (
                "multipart/form-data; boundary=b",
                "--b\r\n\r\nno name\r\n--b--",
            ),
        ] {
            let failure = reads(kind, body).unwrap_err();
            assert!(failure.message.contains("form"), "{body}: {failure}");
        }
    }

    #[test]
    fn json_is_hugging_face_s() {
        let upload = reads("application/json; charset=utf-8", r#"{"inputs": "aGk="}"#).unwrap();
        assert_eq!(
            (&upload.images[..], upload.several),
            (&["hi".into()][..], false)
        );
        let nothing = r#"{"inputs": "aGk=", "parameters": null}"#;
        assert_eq!(reads("application/json", nothing).unwrap(), upload);
        let text = r#"{"inputs": ["aGk=", "data:image/png;base64,aG8="],
            "parameters": {"top_k": 2, "function_to_apply": "sigmoid"}}"#;
        let upload = reads("application/json", text).unwrap();
        assert_eq!(
            (&upload.images[..], upload.several),
            (&["hi".into(), "ho".into()][..], true)
        );
        assert_eq!(
            (upload.top_k, upload.function),
            (Some(2), Function::Sigmoid)
        );
        for text in [
            "",
            "{}",
            r#"{"inputs": []}"#,
            r#"{"inputs": 1}"#,
            r#"["aGk=", {"top_k": 2}]"#,
            r#"{"inputs": "aGk=", "parameters": [2, "sigmoid"]}"#,
            r#"{"inputs": "a b"}"#,
            r#"{"inputs": "data:image/png,a"}"#,
            r#"{"inputs": "aGk=", "parameters": {"top_k": -1}}"#,
            r#"{"inputs": "aGk=", "parameters": {"function_to_apply": "tanh"}}"#,
        ] {
            assert!(reads("application/json", text).is_err(), "{text}");
        }
    }
}
