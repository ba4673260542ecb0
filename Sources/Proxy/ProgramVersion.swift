/// The program's own version.
public enum ProgramVersion {
    /// As `--version`, `User-Agent` and the build information show it (semantic versioning).
    public static let current = "0.1.0"
}
