/// How long a watcher waits for what.
struct WatchTiming: Sendable {
    /// Without further events for so long, a save has ended.
    var quiet = Duration.milliseconds(100)
    /// So long after the first event it is looked, ended or not.
    var quietLimit = Duration.milliseconds(500)
    /// How often files are looked at with `stat`, for what inotify does not see: network file systems, overlays, mounts.
    var tick = Duration.milliseconds(500)
}
