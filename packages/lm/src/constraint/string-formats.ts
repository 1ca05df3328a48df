const DATE =
  '[0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))';
const CLOCK = '([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?';
const ZONE = '(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])';
const BYTE = '(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])';
// No two hyphens, which begin encoded labels, and a last label that is no number, which would be an address.
const LABEL = '[A-Za-z0-9]{1,15}(-[A-Za-z0-9]{1,15}){0,2}';
const HOST = `(${LABEL}\\.){0,4}[A-Za-z]{2,12}`;
const URI_CHARACTER = "([A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})";
const URI = `https?://${HOST}(:[1-9][0-9]{0,3})?(/${URI_CHARACTER}*)*(\\?(${URI_CHARACTER}|[/?])*)?(#(${URI_CHARACTER}|[/?])*)?`;
const COUNT = '[0-9]{1,4}';
const TIME_PERIOD = `T(${COUNT}H(${COUNT}M)?(${COUNT}S)?|${COUNT}M(${COUNT}S)?|${COUNT}S)`;
const DAYS = `${COUNT}D`;
const MONTHS = `${COUNT}M(${DAYS})?`;
const DATE_PERIOD = `(${COUNT}Y(${MONTHS})?|${MONTHS}|${DAYS})`;

/** `format` of JSON Schema as regular expressions of texts that all are of the format: not of all of them. */
export const STRING_FORMATS: Readonly<Record<string, string>> = {
  date: DATE,
  time: CLOCK + ZONE,
  'date-time': `${DATE}T${CLOCK}${ZONE}`,
  duration: `P(${DATE_PERIOD}(${TIME_PERIOD})?|${TIME_PERIOD}|${COUNT}W)`,
  uuid: '[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}',
  ipv4: `${BYTE}(\\.${BYTE}){3}`,
  ipv6: '[0-9a-f]{1,4}(:[0-9a-f]{1,4}){7}',
  hostname: HOST,
  uri: URI,
  'uri-reference': URI,
  url: URI,
  email:
    '[A-Za-z0-9]+([._+-][A-Za-z0-9]+)*@[A-Za-z0-9]+(-[A-Za-z0-9]+)*(\\.[A-Za-z0-9]+(-[A-Za-z0-9]+)*)*\\.[A-Za-z]{2,12}',
};

/** Patterns that zod writes with look-around, and the format that is part of each. */
export const FORMAT_PATTERNS: Readonly<Record<string, string>> = {
  '^P(?:(\\d+W)|(?!.*W)(?=\\d|T\\d)(\\d+Y)?(\\d+M)?(\\d+D)?(T(?=\\d)(\\d+H)?(\\d+M)?(\\d+([.,]\\d+)?S)?)?)$':
    'duration',
  '^(?=.{1,253}\\.?$)[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\\.[a-zA-Z0-9](?:[-0-9a-zA-Z]{0,61}[0-9a-zA-Z])?)*\\.?$':
    'hostname',
};
