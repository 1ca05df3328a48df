/** What happens in a fleet, for a log or a trace. Times are of `performance.now()`, in milliseconds. */
export type FleetEvent =
  /** A server was asked what it is. */
  | { readonly kind: 'probed'; readonly server: string; readonly is: string; readonly model: string }
  /** What server and trainer say of the same tokens: mean and largest |difference| of log-probabilities. */
  | {
      readonly kind: 'compared';
      readonly server: string;
      /** Step of the policy; undefined: the base. */
      readonly version: number | undefined;
      readonly tokens: number;
      readonly meanGap: number;
      readonly maxGap: number;
    }
  | { readonly kind: 'loaded' | 'unloaded'; readonly server: string; readonly version: number }
  /** A group came whole. */
  | {
      readonly kind: 'sampled';
      readonly server: string;
      readonly step: number;
      /** Step of the policy that it is of. */
      readonly version: number;
      readonly group: number;
      readonly tokens: number;
      readonly begun: number;
      readonly ended: number;
    }
  /** A server did not answer: what it was at is asked of another one. */
  | { readonly kind: 'lost'; readonly server: string; readonly why: string }
  | { readonly kind: 'returned'; readonly server: string };

/** Told of what happens, in order. */
export type OnFleetEvent = (event: FleetEvent) => void;
