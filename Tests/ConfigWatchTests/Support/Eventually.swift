/// Waits until `condition` holds; false when it did not within the deadline.
func eventually(within deadline: Duration = .seconds(20), _ condition: @Sendable () -> Bool) async -> Bool {
    let end = ContinuousClock.now + deadline
    while !condition() {
        guard ContinuousClock.now < end else { return false }
        try? await Task.sleep(for: .milliseconds(5))
    }
    return true
}

/// Lets time pass, in which something must *not* happen.
func pass(_ duration: Duration) async {
    let end = ContinuousClock.now + duration
    _ = await eventually(within: duration * 2) { ContinuousClock.now >= end }
}
