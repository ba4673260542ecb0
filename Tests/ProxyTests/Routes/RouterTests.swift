import Testing

@testable import Proxy

@Suite("Router")
struct RouterTests {
    private let side = ScrapeSide()

    static let paths = ["/metrics", "/apps", "/apps?format=json", "/apps?format=html", "/sd", "/", "/-/healthy", "/-/ready"]

    @Test("every route answers GET", arguments: paths)
    func get(path: String) throws {
        let received = try side.send("GET", path)
        #expect(received.status == 200)
        #expect(received.contentLength == received.bytes.count)
        #expect(received[header: "Content-Type"] != nil)
        #expect(received[header: "X-Content-Type-Options"] == "nosniff")
    }

    @Test("HEAD gives the headers of GET, Content-Length too, and no body", arguments: paths + ["/nothing"])
    func head(path: String) throws {
        try side.push([("app", "up 1\n")])
        let get = try side.send("GET", path)
        let head = try side.send("HEAD", path)
        #expect(head.status == get.status)
        #expect(head.headers.map { "\($0)" } == get.headers.map { "\($0)" })
        #expect(head.contentLength == get.contentLength)
        #expect(head.contentLength > 0)
        #expect(head.bytes.isEmpty)
    }

    @Test(
        "other methods on a known path answer 405 and say which are allowed", arguments: paths,
        ["POST", "PUT", "DELETE", "OPTIONS", "get", "TRACE"])
    func otherMethods(path: String, method: String) throws {
        let received = try side.send(method, path)
        #expect(received.status == 405)
        #expect(received[header: "Allow"] == "GET, HEAD")
    }

    @Test(
        "an unknown path answers 404 and lists those that exist, whatever the method",
        arguments: [
            "/nothing", "/metrics/", "/Metrics", "//metrics", "/apps/", "/./metrics", "/-/", "/-/healthy/", "/index.html", "/metrics%2F",
            "/metrics%20",
        ], ["GET", "POST"])
    func unknownPath(path: String, method: String) throws {
        let received = try side.send(method, path)
        #expect(received.status == 404)
        for path in ["/metrics", "/apps", "/sd", "/-/healthy", "/-/ready"] { #expect(received.text.contains("\n\(path)  ")) }
        #expect(received[header: "Allow"] == nil)
    }

    @Test("a path is recognised in any encoding of it, and in an absolute target")
    func encodedPath() throws {
        #expect(try side.send("GET", "/%6Detrics").status == 200)
        #expect(try side.send("GET", "http://h/metrics").status == 200)
    }

    @Test("OPTIONS * finds nothing")
    func asterisk() throws {
        #expect(try side.send("OPTIONS", "*").status == 404)
    }
}
