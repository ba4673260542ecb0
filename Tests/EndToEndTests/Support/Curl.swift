import TestSupport

/// One answer, as curl printed it.
struct HTTPAnswer {
    var version: String
    var status: Int
    /// Names in lower case.
    var headers: [String: String]
    var bodyBytes: [UInt8]

    var body: String { String(decoding: bodyBytes, as: UTF8.self) }

    /// Reads a head and what follows it.
    init(_ bytes: [UInt8]) throws {
        let end = Array("\r\n\r\n".utf8)
        guard let gap = bytes.indices.first(where: { bytes[$0...].starts(with: end) }) else {
            throw CurlFailed(description: "no head in: \(String(decoding: bytes, as: UTF8.self))")
        }
        let lines = String(decoding: bytes[..<gap], as: UTF8.self).split(separator: "\r\n")
        let first = lines[0].split(separator: " ")
        version = String(first[0])
        status = first.count > 1 ? Int(first[1]) ?? 0 : 0
        headers = [:]
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2 else { throw CurlFailed(description: "not a header: \(line)") }
            headers[parts[0].lowercased()] = String(parts[1].drop { $0 == " " })
        }
        bodyBytes = Array(bytes[(gap + end.count)...])
    }
}

struct CurlFailed: Error, CustomStringConvertible {
    var description: String
}

/// Runs curl with nothing but these arguments: no configuration file, no HTTP proxy of the machine.
func runCurl(_ arguments: [String]) async throws -> ProgramResult {
    try await run("curl", ["-q", "--silent", "--show-error", "--max-time", "30", "--noproxy", "*"] + arguments)
}

/// Asks for one URL.
/// - Throws: `CurlFailed` when curl got no answer.
func curl(_ url: String, _ options: [String] = []) async throws -> HTTPAnswer {
    let result = try await runCurl(["--include"] + options + [url])
    guard result.succeeded else { throw CurlFailed(description: "curl \(url): \(result.status): \(result.errors)") }
    return try HTTPAnswer(result.outputBytes)
}
