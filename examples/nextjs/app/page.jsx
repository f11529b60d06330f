import { Writer } from './writer.jsx';

export default function Page() {
  return (
    <main>
      <h1>Write with Presswork</h1>
      <Writer />
    </main>
  );
}
