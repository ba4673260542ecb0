/// One message's apps, applied together or not at all. Names are unique: of a repeated one the last counted.
public struct Push: Sendable {
    /// In the order in which the message names them first.
    public var apps: [(name: AppName, exposition: Exposition)]

    /// A message's apps, each name once.
    public init(apps: [(name: AppName, exposition: Exposition)]) { self.apps = apps }
}
