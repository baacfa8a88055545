//! What is too large, too slow or no message at all.

use tower::ServiceExt;

use super::*;

#[tokio::test]
async fn limits() {
    let (_, router) = door(|options| options.limits.max_body = 100_000);
    assert_eq!(
        code(&router, "ModelInfer", images(&[&[0; 90_000]])).await,
        Code::Unavailable
    );
    assert_eq!(
        code(&router, "ModelInfer", images(&[&[0; 100_000]])).await,
        Code::InvalidArgument
    );
    let too_large = stream::<_, ModelStreamInferResponse>(
        &router,
        "ModelStreamInfer",
        vec![images(&[&[0; 100_000]])],
    );
    assert!(too_large.await.unwrap().next().await.unwrap().is_err());
    let large = HealthCheckRequest {
        service: "x".repeat(crate::grpc::SMALL),
    };
    assert_ne!(
        code(&router, "/grpc.health.v1.Health/Check", large).await,
        Code::NotFound
    );

    let (state, router) = door(|options| {
        options.limits.max_body = 100_000;
        options.limits.all_bodies = 0; // as much as one body
    });
    let request = images(&[&[0; 90_000]]);
    assert_eq!(
        code(&router, "ModelInfer", request.clone()).await,
        Code::Unavailable
    );
    let both = || async {
        let requests = vec![request.clone(), request.clone()];
        let answers =
            stream::<_, ModelStreamInferResponse>(&router, "ModelStreamInfer", requests).await;
        let codes = answers
            .unwrap()
            .map(|answer| answer.map_or_else(|status| status.code(), |_| Code::Ok));
        codes.collect::<Vec<_>>().await
    };
    assert_eq!(
        both().await,
        [Code::Ok, Code::Ok],
        "one gives its room to the next"
    );
    let most = state.bodies.available_permits() as u32;
    let _others = state.bodies.clone().try_acquire_many_owned(most).unwrap();
    assert_eq!(both().await, [Code::ResourceExhausted]);
    assert_eq!(
        code(&router, "ModelInfer", request.clone()).await,
        Code::ResourceExhausted
    );
}

#[tokio::test]
async fn a_message_that_does_not_come() {
    let (_, router) = door(|options| options.limits.body_timeout = Duration::from_millis(50));
    let request = |timeout: &str, method: &str| {
        let pending = axum::body::Body::from_stream(tokio_stream::pending::<
            Result<bytes::Bytes, axum::Error>,
        >());
        let builder =
            axum::http::Request::post(path(method)).header("content-type", "application/grpc");
        builder
            .header("grpc-timeout", timeout)
            .body(pending)
            .unwrap()
    };
    for (timeout, method) in [
        ("10m", "ModelInfer"),
        ("10S", "ModelInfer"),
        ("10S", "ServerLive"),
    ] {
        let answer = router
            .clone()
            .oneshot(request(timeout, method))
            .await
            .unwrap();
        assert_eq!(answer.headers()["grpc-status"], "4", "{method} {timeout}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_its_senders_fault() {
    let (state, router) = door(|_| {});
    let frame = |flag: u8, said: usize, body: &[u8]| {
        let said = u32::try_from(said).unwrap().to_be_bytes();
        axum::body::Body::from([&[flag], &said[..], body].concat())
    };
    let message = images(&[b"x"]).encode_to_vec();
    for (name, encoding, body) in [
        ("no protobuf", "identity", frame(0, 3, b"\xff\xff\xff")),
        ("short", "identity", frame(0, message.len(), &message[1..])),
        ("no frame", "identity", axum::body::Body::from("ab")),
        ("empty", "identity", axum::body::Body::empty()),
        ("no gzip", "gzip", frame(1, message.len(), &message)),
        ("no zlib", "deflate", frame(1, message.len(), &message)),
        ("an odd flag", "identity", frame(7, message.len(), &message)),
        ("no coding", "identity", frame(1, message.len(), &message)),
    ] {
        let builder = axum::http::Request::post(path("ModelInfer"))
            .header("content-type", "application/grpc")
            .header("grpc-encoding", encoding);
        let answer = router
            .clone()
            .oneshot(builder.body(body).unwrap())
            .await
            .unwrap();
        assert_eq!(answer.headers()["grpc-status"], "3", "{name}: {answer:?}");
    }
    let text = state.metrics.text();
    assert!(
        text.contains("endpoint=\"grpc_infer\",status=\"400\"} 8"),
        "{text}"
    );
}
