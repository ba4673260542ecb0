import Foundation
import TestSupport

/// A step of a browser: its name and its argument, as `Tests/Browser/chromium.py` lists them.
typealias BrowserStep = (String, String)

/// What a browser did.
struct BrowserResult {
    /// One for each step: what it evaluated to, as JSON.
    var lines: [String]
    /// What its console says.
    var console: String

    /// The values that are texts, in order.
    var texts: [String] { lines.compactMap { try? JSONDecoder().decode(String.self, from: Data($0.utf8)) } }
}

struct BrowserFailed: Error, CustomStringConvertible {
    var description: String
}

/// Runs a headless Chromium through these steps.
/// - Parameter meanwhile: given how many steps have been done, each time that more are.
func browse(_ steps: [BrowserStep], meanwhile: (Int) async throws -> Void = { _ in }) async throws -> BrowserResult {
    try await withTemporaryFolder { profile in
        let arguments = ["\(checkout)/Tests/Browser/chromium.py", Tools.chromium, profile.path] + steps.flatMap { [$0.0, $0.1] }
        return try await withProgram(Tools.python, arguments) { program in
            func lines() -> [String] { String(decoding: program.outputBytes, as: UTF8.self).split(separator: "\n").map(String.init) }
            var seen = 0
            let status = try await wait(for: "the browser", within: .seconds(400)) {
                // Asked first: what it printed before its end is complete then.
                let status = program.exitStatus
                let done = lines().count
                if done > seen {
                    seen = done
                    try await meanwhile(done)
                }
                return status
            }
            guard status == .exited(0) else { throw BrowserFailed(description: "\(program.errors)\(lines())") }
            return BrowserResult(lines: lines(), console: program.errors)
        }
    }
}
