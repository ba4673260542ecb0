# One push in Cap'n Proto: a standard-framed (unpacked) message with this struct at its root.
@0xfb4ded7f739d5651;

struct InboundMetrics {
  # The app whose metrics these are; they replace what it sent before.
  appName @0 :Text;

  # Metrics in Prometheus's text format.
  data @1 :Text;
}
