import { Chat } from './chat.jsx';

export default function Page() {
  return (
    <main>
      <h1>Chat with Presswork</h1>
      <Chat />
    </main>
  );
}
