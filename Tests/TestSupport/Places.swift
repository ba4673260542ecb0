/// How many programs may run at once. All tests run in parallel: without a limit the first hundred starve each other, and a kernel's
/// 128 inotify instances a user (`fs.inotify.max_user_instances`) are gone before the tests are that need one.
actor Places {
    static let proxies = Places(32)

    /// Whether this task, or one above it, holds a place: a test that runs a second proxy within the first must not wait for its own end.
    @TaskLocal private static var isHeld = false

    private var free: Int
    private var waiting: [CheckedContinuation<Void, Never>] = []

    init(_ count: Int) { free = count }

    /// Runs `body` when there is a place.
    nonisolated func hold<Result>(_ body: () async throws -> Result) async throws -> Result {
        if Places.isHeld { return try await body() }
        await take()
        do {
            let result = try await Places.$isHeld.withValue(true) { try await body() }
            await giveBack()
            return result
        } catch {
            await giveBack()
            throw error
        }
    }

    private func take() async {
        if free > 0 {
            free -= 1
        } else {
            await withCheckedContinuation { waiting.append($0) }
        }
    }

    private func giveBack() {
        if waiting.isEmpty { free += 1 } else { waiting.removeFirst().resume() }
    }
}
