import HTTP
import Pushgateway
import Testing

@testable import Proxy

@Suite("PushRequest")
struct PushRequestTests {
    private func read(
        _ method: Request.Method, _ path: String, type: String? = nil, encoding: String? = nil
    ) -> Result<PushRequest, Rejection> {
        Result { () throws(Rejection) in
            try PushRequest(Request(method: method, path: path), contentType: type, contentEncoding: encoding)
        }
    }

    private func fault(_ method: Request.Method, _ path: String, type: String? = nil, encoding: String? = nil) -> Rejection? {
        if case .failure(let fault) = read(method, path, type: type, encoding: encoding) { fault } else { nil }
    }

    private static let families = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"

    @Test("a path and a method name what is changed")
    func actions() throws {
        guard case .put(let app) = try read(.put, "/apps/a/b").get().action else { return #expect(Bool(false)) }
        #expect(app.description == "a/b")
        guard case .delete = try read(.delete, "/apps/a").get().action else { return #expect(Bool(false)) }
        guard case .apply = try read(.post, "/apps").get().action else { return #expect(Bool(false)) }
        guard case .deleteGroup(let group) = try read(.delete, "/metrics/job/j/b/2/a/1").get().action else { return #expect(Bool(false)) }
        #expect(group.description == "job/j/a/1/b/2")
        for (method, replaces) in [(Request.Method.put, true), (.post, false)] {
            guard case .pushGroup(let key, let name, let replacing, false) = try read(method, "/metrics/job@base64/YQ/").get().action else {
                return #expect(Bool(false))
            }
            #expect(key.job == "a" && name.description == "job/a" && replacing == replaces)
        }
        #expect(fault(.put, "/apps/") == .invalidAppName(""))
        #expect(fault(.put, "/app/a") == .unknownPath)
        #expect(fault(.put, "/metrics/jobs/a") == .unknownPath)
        #expect(fault(.get, "/apps/a") == .methodNotAllowed(allowed: "PUT, DELETE"))
    }

    @Test(
        "a type that names another format is refused, any other is taken as text",
        arguments: [
            (nil, true), ("", true), ("text/plain; version=0.0.4; charset=utf-8", true), ("application/x-www-form-urlencoded", true),
            ("application/octet-stream", true), ("application/openmetrics-text; version=1.0.0", false),
            ("APPLICATION/JSON;charset=x", false),
            ("application/problem+json", false), ("application/vnd.google.protobuf", false), ("application/x-protobuf", false),
        ] as [(String?, Bool)])
    func types(type: String?, isTaken: Bool) {
        for path in ["/apps/a", "/metrics/job/a"] {
            let fault = fault(.put, path, type: type)
            #expect((fault == nil) == isTaken, "\(path) \(type ?? "")")
            if let fault { #expect(fault.httpStatus == 415) }
        }
    }

    @Test(
        "blanks, case, quotes and other parameters of a type do not matter; of a repeated parameter the last one counts",
        arguments: [
            (" \tAPPLICATION/vnd.google.protobuf\t; proto = io.prometheus.client.MetricFamily ;ENCODING=delimited;", true),
            ("application/vnd.google.protobuf;encoding=text;proto=io.prometheus.client.MetricFamily;encoding=\"delimited\"", true),
            ("application/vnd.google.protobuf;encoding=delimited;proto=io.prometheus.client.MetricFamily;encoding=text", false),
            ("application/vnd.google.protobuf;proto=\"io.prometheus.client.MetricFamily;encoding=delimited", false),
            ("application/vnd.google.protobuf;;=;a;" + String(repeating: " ", count: 300) + "encoding=delimited", false),
            (";", false), (" ", false),
        ])
    func types(field: String, isDelimitedFamilies: Bool) throws {
        #expect(try #require(MediaType(field)).isDelimitedFamilies == isDelimitedFamilies)
    }

    @Test("delimited protobuf is taken for groups alone, JSON for /apps alone")
    func formats() throws {
        #expect(try read(.put, "/metrics/job/a", type: Self.families).get().format == .protobuf)
        let quoted = "Application/Vnd.Google.Protobuf ;encoding=\"delimited\"; proto=\"io.prometheus.client.MetricFamily\""
        #expect(try read(.post, "/metrics/job/a", type: quoted).get().format == .protobuf)
        #expect(try read(.put, "/metrics/job/a", type: "text/plain").get().format == .text)
        #expect(fault(.put, "/apps/a", type: Self.families) != nil)
        #expect(fault(.put, "/metrics/job/a", type: Self.families.replacing("delimited", with: "text")) != nil)
        #expect(try read(.post, "/apps", type: "application/json").get().format == .json)
        #expect(try read(.post, "/apps", type: "text/plain").get().format == .json)
        #expect(fault(.post, "/apps", type: "application/openmetrics-text") != nil)
        #expect(fault(.post, "/apps", type: Self.families) != nil)
    }

    @Test("the coding of a body that is not looked at does not matter")
    func codingsOfUnusedBodies() throws {
        for (method, path) in [(Request.Method.delete, "/apps/a"), (.delete, "/metrics/job/a"), (.get, "/-/healthy")] {
            for encoding in ["gzip", "br"] { #expect(try read(method, path, encoding: encoding).get().coding == .identity) }
        }
    }

    @Test("gzip is uncompressed, other codings are refused")
    func codings() throws {
        for (encoding, coding) in [(nil, BodyBytes.Coding.identity), ("identity", .identity), ("GZIP", .gzip), ("x-gzip", .gzip)] {
            #expect(try read(.put, "/apps/a", encoding: encoding).get().coding == coding)
        }
        for encoding in ["br", "deflate", "gzip, gzip", "zstd"] {
            #expect(fault(.put, "/apps/a", encoding: encoding) == .unsupportedEncoding(encoding))
        }
    }
}
