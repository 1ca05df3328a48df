import type { Random } from '@posttrain/interfaces/random';
import { fillerSentence, madeUpName } from '../words.js';
import { different } from './needles.js';
import type { RulerBuilder } from './ruler.js';

/** A question about documents, of which some hold its answer. */
export interface RulerQuestion {
  readonly question: string;
  readonly answers: readonly string[];
  /** Documents that the answer stands in. */
  readonly documents: readonly string[];
  /** Documents that do not hold it: they are put around. Default: of other questions, or made up. */
  readonly others?: readonly string[];
}

const COUNTRIES = ['coast', 'hills', 'plain', 'islands', 'marshes', 'lake country'];
const TRADES = ['weaver', 'printer', 'surveyor', 'glass maker', 'singer', 'botanist', 'clock maker', 'translator'];

interface Person {
  readonly name: string;
  readonly town: string;
  readonly company: string;
}

function personDocument({ name, town }: Person, random: Random): string {
  const year = random.integer(1700, 1990);
  return `${name}\n${name} was a ${random.pick(TRADES)} from the ${random.pick(COUNTRIES)}. ${name} was born in ${town} in ${year}. ${fillerSentence(random)}`;
}

const companyDocument = ({ company, name }: Person, random: Random): string =>
  `${company} Works\n${company} Works is a company of the ${random.pick(COUNTRIES)}. It was founded by ${name} in ${random.integer(1800, 2000)}. ${fillerSentence(random)}`;

/** Question answering (QA): the documents of the answer among others. Without questions of the user's, people and companies that are made up. */
export function questionAnswering(hops: 1 | 2): RulerBuilder {
  return {
    tokens: 32,
    smallest: 2 * hops,
    metric: 'part',
    build(size, random, { questions }, index) {
      const given = questions && questions[index % questions.length]!;
      const asked = given ?? madeUp(size, hops, random);
      const others = asked.others ?? questions!.filter((one) => one !== given).flatMap(({ documents }) => documents);
      const fill = Math.max(0, size - asked.documents.length);
      const around = Array.from({ length: others.length === 0 ? 0 : fill }, (_, i) => others[i % others.length]!);
      const shown = random.shuffled([...asked.documents, ...around]);
      const context = shown.map((document, i) => `Document ${i + 1}:\n${document}`).join('\n\n');
      const order =
        'Answer the question based on the given documents. Only give me the answer and do not output any other words.';
      return {
        input: `${order}\n\nThe following are given documents.\n\n${context}\n\n${order}\n\nQuestion: ${asked.question}`,
        prefix: ' Answer:',
        outputs: asked.answers,
      };
    },
  };
}

function madeUp(size: number, hops: 1 | 2, random: Random): RulerQuestion {
  const names = different(size * 3 + 3, () => madeUpName(random));
  const people = Array.from(
    { length: size },
    (_, i): Person => ({ name: names[3 * i]!, town: names[3 * i + 1]!, company: names[3 * i + 2]! }),
  );
  const [first, ...rest] = people as [Person, ...Person[]];
  const documentsOf = (person: Person) =>
    hops === 1 ? [personDocument(person, random)] : [companyDocument(person, random), personDocument(person, random)];
  return {
    question:
      hops === 1
        ? `In which town was ${first.name} born?`
        : `In which town was the founder of ${first.company} Works born?`,
    answers: [first.town],
    documents: documentsOf(first),
    others: rest.flatMap(documentsOf),
  };
}
