import Foundation

/// Thrown when a condition did not come true in time.
public struct WaitTimedOut: Error, CustomStringConvertible {
    /// What was waited for.
    public let description: String
}

/// Whether the tests and the program were built with a sanitizer; `script/test` sets one of these. Everything takes many times as long
/// then, and memory that is allocated cannot be counted.
public let isSanitized = ["ASAN_OPTIONS", "TSAN_OPTIONS"].contains { ProcessInfo.processInfo.environment[$0] != nil }

/// Long enough for a loaded machine, so that only what never happens reaches it.
public let patience = Duration.seconds(isSanitized ? 600 : 60)

/// Asks `condition` again and again until it gives a value, and returns that.
/// - Parameter what: completes the sentence "waited in vain for …".
/// - Throws: `WaitTimedOut` when `deadline` has passed, and whatever `condition` throws.
@discardableResult
public func wait<Value>(
    for what: @autoclosure () -> String, within deadline: Duration = patience, until condition: () async throws -> Value?
) async throws -> Value {
    let end = ContinuousClock.now + deadline
    while true {
        if let value = try await condition() { return value }
        guard ContinuousClock.now < end else { throw WaitTimedOut(description: "waited in vain for \(what())") }
        try await Task.sleep(for: .milliseconds(10))
    }
}

/// Asks `condition` again and again until it holds.
public func wait(
    for what: @autoclosure () -> String, within deadline: Duration = patience, until condition: () async throws -> Bool
) async throws {
    try await wait(for: what(), within: deadline) { () async throws -> Void? in try await condition() ? () : nil }
}
