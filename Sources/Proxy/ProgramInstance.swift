/// This running program, told apart from every other.
public enum ProgramInstance {
    /// Random, the same until the program ends. Polls carry it, so that a proxy that polls itself, by whatever name or redirect, finds out.
    public static let id = String(UInt64.random(in: .min ... .max), radix: 16)
}
